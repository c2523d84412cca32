package wrappers_test

import (
	"context"
	"testing"
	"time"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// A write through a hub: whose changes nobody follows, whose changes are kept, and whose
// changes are read at once.
func BenchmarkChanges(b *testing.B) {
	for _, followers := range []string{"nobody", "kept", "one"} {
		b.Run(followers, func(b *testing.B) {
			below := memory.New(memory.DefaultConfig(), sdk.Env{})
			defer below.Close(context.Background())
			hub := wrappers.NewHub(below)
			hub.KeepChanges(time.Now)
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			s := hub.Backend()
			if followers != "nobody" {
				page, err := s.Changes(ctx, storage.ChangeQuery{FromNow: true})
				if err != nil {
					b.Fatal(err)
				}
				if followers == "one" {
					go func() {
						for after := page.Next; ; {
							page, err := s.Changes(ctx, storage.ChangeQuery{After: after, Wait: time.Minute})
							if storage.CodeOf(err) == storage.VersionGone { // it was too slow
								page, err = s.Changes(ctx, storage.ChangeQuery{FromNow: true})
							}
							if err != nil {
								return
							}
							after = page.Next
						}
					}()
				}
			}
			w := &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("key-000000000001"), make([]byte, 100))}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Apply(ctx, w); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
