package wasmhost_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

// Memory that cannot be had is an error of the open, and all is as before it.
func TestMemoryThatIsNotThere(t *testing.T) {
	ctx := context.Background()
	m := load(t, newRuntime(t), committed(t, "kv"), wasmhost.Options{Name: "kv", Memory: 4 << 30})
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_AS, &limit); err != nil {
		t.Fatal(err)
	}
	less := limit
	less.Cur = uint64(measure(t).addresses) + 10<<30 // room for two of 4 GiB, and for Go
	if err := unix.Setrlimit(unix.RLIMIT_AS, &less); err != nil {
		t.Fatal(err)
	}
	var open []*wasmhost.Backend
	var failed error
	for len(open) < 5 && failed == nil {
		var b *wasmhost.Backend
		if b, failed = m.Open(ctx, nil); failed == nil {
			open = append(open, b)
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_AS, &limit); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(failed, storage.ErrNoSpace) || !strings.HasPrefix(failed.Error(), "plugin kv: reserving 4294901760 bytes of linear memory: ") || len(open) == 0 {
		t.Errorf("after %d: %v", len(open), failed)
	}
	for _, b := range open {
		apply(t, b, storage.Put([]byte("key"), []byte("value")))
		if err := b.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	openModule(t, m, "")
}
