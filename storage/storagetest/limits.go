package storagetest

import (
	"github.com/plinthkv/plinth/storage"
)

// saneLimit is the largest limit that is tried out, in bytes and numbers.
const saneLimit = 32 << 20

// wantLimit demands a SizeLimit error that says which limit, and by how much.
func (t *T) wantLimit(err error, kind string, most, actual int) {
	e := t.wantCode(err, storage.SizeLimit)
	if want := (storage.Limit{Kind: kind, Max: int64(most), Actual: int64(actual)}); e.Limit != want {
		t.Fatalf("the error says %+v, want %+v", e.Limit, want)
	}
}
