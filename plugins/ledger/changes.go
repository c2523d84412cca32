package ledger

import (
	"context"

	"github.com/plinthkv/plinth/storage"
)

// Changes returns [storage.ErrUnsupported]. Blocks would not do: of writes that the server
// takes together it keeps the last block, and of large ones none. Nor do items, or pages of a
// scan, have versions to go on from after such a gap.
func (b *Backend) Changes(context.Context, storage.ChangeQuery) (storage.ChangePage, error) {
	return storage.ChangePage{}, &storage.Error{Code: storage.Unsupported, Op: "changes", Layer: layer, Msg: "the server keeps no block of some writes, so that changes would be incomplete"}
}
