package readonly_test

import (
	"errors"
	"testing"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/readonly"
)

func TestReadOnly(t *testing.T) {
	ctx, key := t.Context(), []byte("k")
	below := memory.New(memory.DefaultConfig(), sdk.Env{})
	writer := storage.New(below, storage.Settings{})
	if err := writer.Set(ctx, key, []byte("v")); err != nil {
		t.Fatal(err)
	}
	reader := storage.New(readonly.New(below, wrappers.Settings{Stage: "read_only"}), storage.Settings{})
	for name, write := range map[string]func() error{
		"set":    func() error { return reader.Set(ctx, key, nil) },
		"delete": func() error { return reader.Delete(ctx, key) },
		"clear":  func() error { return errOf(reader.ClearRange(ctx, nil, nil)) },
		"cas":    func() error { return errOf(reader.Put(ctx, key, nil, storage.IfAbsent())) },
		"commit": func() error { return reader.Update(ctx, func(tx *storage.Txn) error { return tx.Set(ctx, key, nil) }) },
	} {
		if err := write(); !errors.Is(err, storage.ErrPermissionDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if v, err := reader.Get(ctx, key); err != nil || string(v) != "v" {
		t.Errorf("%q, %v", v, err)
	}
	// What was read in a transaction may be checked at its end.
	err := reader.Update(ctx, func(tx *storage.Txn) error { _, err := tx.Get(ctx, key); return err })
	if err != nil {
		t.Errorf("a transaction that only reads: %v", err)
	}
}

// errOf drops the version of a write.
func errOf(_ uint64, err error) error { return err }
