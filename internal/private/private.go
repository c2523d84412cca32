// Package private reports whether a folder is this user's alone: whether other users can
// neither write to it nor replace it.
package private

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// Dir refuses a folder that other users can write to or replace: they must not be able to
// write to any folder above it, except folders like /tmp, where users can rename only their
// own files.
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
