package carrier

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
)

// Filed is a carrier of a plugin that is kept in files, which can be replaced.
type Filed interface {
	// Changed reports whether a file of the plugin is another one than the carrier was made
	// of, or is gone.
	Changed() bool
	// Paths are those of the files.
	Paths() []string
	// Digest is the SHA-256 in hex of the module or executable that the carrier was made of;
	// empty if that could not be read.
	Digest() string
}

// Files are what a plugin is made of, as it was when it was noted. The zero value is none.
type Files struct{ noted []noted }

type noted struct {
	path   string
	info   os.FileInfo // nil: there was none
	digest string
}

// NoteFiles notes the files at paths. It is called before they are read for use, so that
// one that is replaced meanwhile counts as changed.
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

// digestOf is the SHA-256 of a file in hex, empty if it cannot be read.
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

// Changed reports whether one of the files has another content, or is gone.
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

// Paths are those of the files.
func (f Files) Paths() []string {
	var all []string
	for _, n := range f.noted {
		all = append(all, n.path)
	}
	return all
}

// Digest is that of the first file, in hex.
func (f Files) Digest() string {
	if len(f.noted) == 0 {
		return ""
	}
	return f.noted[0].digest
}
