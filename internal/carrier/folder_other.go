//go:build !unix

package carrier

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
)

// Folder holds one backend's files. Nothing locks it on this system.
type Folder struct {
	Path string // empty if none was granted
}

// Claim makes the folder of a store below dir if there is none. An empty dir is an empty
// folder.
func Claim(_ context.Context, dir, store string, log *slog.Logger) (*Folder, error) {
	if dir == "" {
		return &Folder{}, nil
	}
	f := &Folder{Path: filepath.Join(dir, store)}
	if err := os.Mkdir(f.Path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, notMade(dir, err)
	}
	log.Warn("this system cannot lock folders: make sure that no other host uses it", "folder", f.Path)
	return f, nil
}

// Release has nothing to end.
func (*Folder) Release() {}

// Inherited returns nil.
func (*Folder) Inherited() []*os.File { return nil }
