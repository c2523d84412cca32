package carrier

import (
	"errors"
	"io/fs"

	"github.com/plinthkv/plinth/storage"
)

// notMade returns the error of a store's folder below dir that cannot be made or opened.
func notMade(dir string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return storage.Errorf(storage.InvalidArgument, "grants.dir: the folder %s does not exist: create it, and Plinth creates a folder for each store in it", dir)
	}
	return storage.Errorf(storage.InvalidArgument, "grants.dir: the folder of the store: %w", err)
}
