//go:build unix

package etcd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// What a cluster does on a bad day, to clients that go on writing and reading: each history
// is linearizable, with what was acknowledged in it once, and what is of unknown outcome
// once or not at all.
func TestFaults(t *testing.T) {
	t.Parallel()
	c := prepared(t, 3)
	var between []*proxy
	for _, m := range c.members {
		p := newProxy(t, m.peer, true)
		m.advertised = p.addr
		between = append(between, p)
	}
	c.start(t)
	for _, f := range []struct {
		name string
		do   func(t *testing.T, b *Backend)
	}{
		{"leader killed", func(t *testing.T, b *Backend) {
			m := c.leader(t, b)
			m.stop(syscall.SIGKILL)
			time.Sleep(1500 * time.Millisecond)
			m.start(t)
		}},
		{"leader paused", func(t *testing.T, b *Backend) {
			m := c.leader(t, b)
			m.signal(t, syscall.SIGSTOP)
			time.Sleep(2500 * time.Millisecond)
			m.signal(t, syscall.SIGCONT)
		}},
		{"leader cut off", func(t *testing.T, b *Backend) { c.cutOff(t, b, between, c.leader(t, b)) }},
		{"defragmented", func(t *testing.T, b *Backend) {
			for _, e := range c.endpoints() {
				if _, err := b.client.Defragment(t.Context(), e); err != nil {
					t.Error(err)
				}
			}
		}},
		{"rolling restart", func(t *testing.T, b *Backend) {
			for _, m := range c.members {
				m.stop(syscall.SIGTERM)
				m.start(t)
				time.Sleep(time.Second)
			}
		}},
	} {
		t.Run(f.name, func(t *testing.T) {
			b := c.open(t, aPrefix(), impatient)
			h, err := storagetest.NewHistory(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan map[storage.Code]int, 1)
			go func() { done <- work(ctx, h, 5) }()
			time.Sleep(300 * time.Millisecond)
			f.do(t, b)
			time.Sleep(700 * time.Millisecond)
			stop()
			outcomes := <-done
			t.Log(outcomes)
			if outcomes[storage.OK] < 50 || outcomes[storage.Internal] > 0 {
				t.Errorf("the outcomes were %v", outcomes)
			}
			if err := h.Check(50, time.Minute); err != nil {
				t.Error(err)
			}
			c.ready(t)
		})
	}
}

// impatient is what makes calls that cannot succeed fail soon.
func impatient(config map[string]any) {
	config["timeouts"] = map[string]any{"read": "3s", "write": "3s", "attempt": "700ms", "connect": "20s"}
}

// cutOff has a member neither hear the others nor be heard by them for a while.
func (c *cluster) cutOff(t *testing.T, b *Backend, between []*proxy, m *member) {
	s, err := b.client.Status(t.Context(), "http://"+m.client)
	if err != nil {
		t.Fatal(err)
	}
	id := strconv.FormatUint(s.Header.MemberId, 16)
	sever := func(on bool) {
		for i, p := range between {
			own := c.members[i] == m
			switch {
			case !on:
				p.sever(nil)
			default:
				p.sever(func(from string) bool { return own || from == id })
			}
		}
	}
	sever(true)
	defer sever(false)
	time.Sleep(2 * time.Second)
	for until := time.Now().Add(20 * time.Second); c.leader(t, b) == m; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(until) { // it knows soon that it no longer leads
			t.Fatal("the member that was cut off leads")
		}
	}
}

// work has clients do calls of all kinds on a few keys until ctx ends, and counts the
// outcomes. Half of the writes have an ID.
func work(ctx context.Context, h *storagetest.History, clients int) map[storage.Code]int {
	var mu sync.Mutex
	outcomes := map[storage.Code]int{}
	var all sync.WaitGroup
	for i := range clients {
		own := h.Client()
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			key := func() []byte { return []byte{byte('a' + r.IntN(4))} }
			for n := 0; ctx.Err() == nil; n++ {
				code := storage.CodeOf(one(own, r, key, fmt.Appendf(nil, "%d.%d", i, n)))
				mu.Lock()
				outcomes[code]++
				mu.Unlock()
				time.Sleep(rand.N(40 * time.Millisecond))
			}
		})
	}
	all.Wait()
	return outcomes
}

// one is a call of some kind.
func one(b storage.Backend, r *rand.Rand, key func() []byte, value []byte) error {
	ctx := context.Background()
	w := &storage.WriteSet{}
	if r.IntN(2) == 0 {
		for i := range w.ID {
			w.ID[i] = byte(r.IntN(256))
		}
	}
	switch r.IntN(10) {
	case 0, 1:
		_, err := b.Get(ctx, key())
		return err
	case 2:
		_, err := b.Scan(ctx, storage.Query{})
		return err
	case 3:
		_, err := b.GetMany(ctx, [][]byte{key(), key()})
		return err
	case 4:
		w.Ops = []storage.Op{storage.DeleteRange(key(), key())}
	case 9: // nothing is written
		w.Checks = []storage.Check{storage.Present(key())}
		if r.IntN(2) == 0 {
			w.ID = [16]byte{}
		}
	case 5:
		w.Ops = []storage.Op{storage.Put(key(), value), storage.Put(key(), value)}
	case 6:
		k := key()
		it, err := b.Get(ctx, k)
		switch storage.CodeOf(err) {
		case storage.OK:
			w.Checks = []storage.Check{storage.HasVersion(k, it.Version)}
		case storage.NotFound:
			w.Checks = []storage.Check{storage.Absent(k)}
		default:
			return err
		}
		w.Ops = []storage.Op{storage.Put(k, value)}
	case 7:
		w.Ops = []storage.Op{storage.Delete(key())}
	default:
		w.Ops = []storage.Op{storage.Put(key(), value)}
	}
	_, err := b.Apply(ctx, w)
	return err
}
