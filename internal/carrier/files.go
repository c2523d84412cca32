package carrier

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
)

// Filed is a carrier of a plugin with files that can be replaced.
type Filed interface {
	// Changed reports whether a file of the plugin was replaced or removed since the
	// carrier was made.
	Changed() bool
	// Paths returns the paths of the files.
	Paths() []string
	// Digest returns the SHA-256 in hex of the module or executable that the carrier was
	// made from. It is empty if that could not be read.
	Digest() string
}

// Files records the state of a plugin's files at the time of [NoteFiles]. The zero value
// has none.
type Files struct{ noted []noted }

type noted struct {
	path   string
	info   os.FileInfo // nil if there was none
	digest string
}

// NoteFiles records the files at paths. Call it before reading them for use, so that a
// file replaced meanwhile counts as changed.
func NoteFiles(paths ...string) Files {
	var f Files
	for _, path := range paths {
		f.noted = append(f.noted, note(path))
	}
	return f
}

func note(path string) noted {
	info, err := os.Stat(path)
	if err != nil {
		return noted{path: path}
	}
	return noted{path, info, digestOf(path)}
}

// digestOf returns the SHA-256 of a file in hex, empty if it cannot be read.
func digestOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Changed reports whether one of the files has different content, or is gone.
func (f Files) Changed() bool {
	for _, was := range f.noted {
		info, err := os.Stat(was.path)
		if err != nil || was.info == nil {
			return true
		}
		if os.SameFile(info, was.info) && info.Size() == was.info.Size() && info.ModTime().Equal(was.info.ModTime()) {
			continue
		}
		if digestOf(was.path) != was.digest {
			return true
		}
	}
	return false
}

// Paths returns the paths of the files.
func (f Files) Paths() []string {
	var all []string
	for _, n := range f.noted {
		all = append(all, n.path)
	}
	return all
}

// Digest returns the digest of the first file, in hex.
func (f Files) Digest() string {
	if len(f.noted) == 0 {
		return ""
	}
	return f.noted[0].digest
}
