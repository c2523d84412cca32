//go:build !unix

package backup

import (
	"errors"
	"os"
)

// lock does nothing: nothing locks files here. Do not write two backups to one file at once.
func lock(*os.File) error { return nil }

// place gives a partial file its name. An open file cannot be renamed.
func place(part *os.File, name string) error {
	if err := part.Close(); err != nil {
		return err
	}
	return os.Rename(part.Name(), name)
}

// drop removes a partial file. An open file cannot be removed.
func drop(part *os.File) error {
	return errors.Join(part.Close(), os.Remove(part.Name()))
}
