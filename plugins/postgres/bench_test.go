package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// BenchmarkChanges is a put of 100 bytes with and without the changes that are kept.
func BenchmarkChanges(b *testing.B) {
	s := server(b)
	for _, writers := range []int{1, 32} {
		for _, changes := range []string{"false", "true"} {
			b.Run(fmt.Sprintf("writers=%d/changes=%s", writers, changes), func(b *testing.B) {
				o, err := Open(b.Context(), sdk.Env{Log: silent, Config: configOf(s, fmt.Sprintf("bench_%d", tableNumber.Add(1)), "changes", changes)})
				if err != nil {
					b.Fatal(err)
				}
				defer o.Close(context.Background())
				var left atomic.Int64
				left.Store(int64(b.N))
				b.ResetTimer()
				var all sync.WaitGroup
				for range writers {
					all.Go(func() {
						for n := left.Add(-1); n >= 0; n = left.Add(-1) {
							if _, err := o.Apply(b.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put(binary.BigEndian.AppendUint64(nil, uint64(n)), make([]byte, 100))}}); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				all.Wait()
			})
		}
	}
}
