package postgres

import (
	"context"

	"github.com/plinthkv/plinth/storage"
)

// Changes returns [storage.ErrUnsupported]: this backend has no changes.
func (b *Backend) Changes(context.Context, storage.ChangeQuery) (storage.ChangePage, error) {
	return storage.ChangePage{}, &storage.Error{Code: storage.Unsupported, Op: "changes", Layer: "postgres"}
}
