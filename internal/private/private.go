// Package private tells whether a folder is this user's alone: whether nobody else can put
// something into it, or another folder in its place.
package private

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// Dir refuses a folder that others can write to, or could put another in the place of: no
// folder above it may be theirs to write, but for those like /tmp, where each can rename
// only what is their own.
func Dir(dir string) error {
	dir, err := filepath.EvalSymlinks(dir)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return err
	}
	for d, last := dir, ""; d != last; d, last = filepath.Dir(d), d {
		info, err := os.Stat(d)
		if err != nil {
			return err
		}
		sticky := info.Mode()&os.ModeSticky != 0 && d != dir
		if runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 && !sticky {
			return fmt.Errorf("%s can be written by others (mode %v)", d, info.Mode().Perm())
		}
		if err := ownedByUs(d, info); err != nil && d == dir {
			return err
		}
	}
	return nil
}
