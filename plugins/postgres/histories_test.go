package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// hosts are backends on one table, of which each call takes one at random.
type hosts []storage.Backend

func (h hosts) any() storage.Backend { return h[rand.IntN(len(h))] }

func (h hosts) Get(ctx context.Context, key []byte) (storage.Item, error) {
	return h.any().Get(ctx, key)
}
func (h hosts) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	return h.any().GetMany(ctx, keys)
}
func (h hosts) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	return h.any().Scan(ctx, q)
}
func (h hosts) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	return h.any().Changes(ctx, q)
}
func (h hosts) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	return h.any().Apply(ctx, w)
}
func (h hosts) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return h.any().Health(ctx, p)
}
func (h hosts) Info() storage.Info          { return h[0].Info() }
func (h hosts) Close(context.Context) error { return nil }

// Clients of two hosts call at once while the server is killed, and connections are cut at any
// moment: what they were answered has an order.
func TestHistories(t *testing.T) {
	if testing.Short() {
		t.Skip("the kit has histories without faults, which run with -short")
	}
	t.Parallel()
	for name, disturb := range map[string]func(kill, cut func()){
		"connections that are cut": func(_, cut func()) { time.Sleep(100 * time.Millisecond); cut() },
		"a server that is killed":  func(kill, cut func()) { time.Sleep(200 * time.Millisecond); cut(); kill(); cut() },
	} {
		t.Run(name, func(t *testing.T) {
			s := ownServer(t, "shared_buffers=16MB")
			p := newProxy(t, s)
			both := hosts{opened(t, s, "h", "dsn", p.dsn(s)), opened(t, s, "h", "dsn", p.dsn(s), "prepared", preparedOff)}
			kill := func() {
				if err := s.Crash(); err != nil {
					t.Error(err)
				}
			}
			err := storagetest.ErrHistoryInvalid
			for try := 0; try < 3 && errors.Is(err, storagetest.ErrHistoryInvalid); try++ { // too much of it was open to be decided
				err = history(t, both, func() { disturb(kill, p.cutAll) })
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// history is what is wrong with the history of clients that are disturbed again and again.
func history(t *testing.T, b storage.Backend, disturb func()) error {
	h, err := storagetest.NewHistory(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-over:
				return
			default:
				disturb()
			}
		}
	}()
	var wg sync.WaitGroup
	for i := range 5 {
		c := h.Client()
		wg.Go(func() { client(t.Context(), c, i, 100) })
	}
	wg.Wait()
	close(over)
	<-ended
	return h.Check(100, 20*time.Second)
}

// client does calls of every kind to a few keys, whatever they are answered.
func client(ctx context.Context, b storage.Backend, who, calls int) {
	r := rand.New(rand.NewPCG(uint64(who), rand.Uint64()))
	for n := range calls {
		key := []byte{byte('a' + r.IntN(4))}
		w := &storage.WriteSet{Ops: []storage.Op{storage.Put(key, fmt.Appendf(nil, "%d.%d", who, n))}}
		if r.IntN(20) > 0 { // of those without one it stays open what became of them, each doubles what has to be tried
			w.ID = [16]byte{byte(who + 1), byte(n >> 8), byte(n)}
		}
		switch r.IntN(8) {
		case 0, 1:
			_, _ = b.Get(ctx, key)
			continue
		case 2:
			_, _ = b.GetMany(ctx, [][]byte{{'a'}, {'b'}, key})
			continue
		case 3:
			_, _ = b.Scan(ctx, storage.Query{Reverse: r.IntN(2) == 0})
			continue
		case 4:
			w.Ops = []storage.Op{storage.DeleteRange([]byte("b"), []byte("d")), storage.Put(key, fmt.Appendf(nil, "%d.%d", who, n))}
		case 5:
			if it, err := b.Get(ctx, key); err == nil {
				w.Checks = []storage.Check{storage.HasVersion(key, it.Version)}
			}
		case 6:
			w.Ops = []storage.Op{storage.Delete(key)}
		}
		_, _ = b.Apply(ctx, w)
	}
}
