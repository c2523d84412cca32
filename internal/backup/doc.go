// Package backup reads and writes backup files: the items of a store in one state,
// compressed, with a checksum. docs/backup.md describes the format.
//
// A file comes into being whole: [Create] writes a partial file, and [Writer.Commit] renames it.
// [Resume] continues a partial file from a [Mark], which its caller keeps. A file is not trusted: [File.Check] reads all of it before anything is made of it,
// and no count or length in it decides how much memory is taken.
//
// Stores, protocols and progress do not belong here.
package backup
