package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// fake is a served store that sends all its keys, whatever a scan asks, and then nothing if it
// hangs; it takes no writes.
type fake struct {
	served
	keys  []string
	value []byte // of each
	hangs bool
}

func (f fake) scan(ctx context.Context, _ scanQuery, each func(line) error) error {
	for _, key := range f.keys {
		if err := each(line{key: []byte(key), value: f.value}); err != nil {
			return err
		}
	}
	if !f.hangs {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (f fake) load(ctx context.Context, _ []storage.Op) error {
	<-ctx.Done()
	return ctx.Err()
}

// A server that sends the same again and again, or nothing any more, ends the work.
func TestPagesEnd(t *testing.T) {
	all := fake{keys: make([]string, setOps)}
	for i := range all.keys {
		all.keys[i] = strings.Repeat("k", i)
	}
	n := 0
	for _, err := range pages(t.Context(), all, bounds{}, nil) {
		if n++; err != nil {
			if n != setOps+1 || !strings.Contains(err.Error(), "does not advance") {
				t.Errorf("%d: %v", n, err)
			}
			break
		}
		if n > setOps {
			t.Fatal("it goes on")
		}
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, _, err := onePage(t.Context(), fake{keys: []string{"a"}, hangs: true}, bounds{})
		if err == nil || !strings.Contains(err.Error(), "nothing for 2m0s") || time.Since(start) != scanSilence {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		// A write ends too, and not by a signal: one that is under way may be done.
		ctx, end := context.WithCancel(t.Context())
		end()
		start = time.Now()
		err = sink{to: fake{}, settled: func(_ []storage.Op, err error) error { return err }}.store(ctx, []storage.Op{storage.Delete(nil)})
		if err == nil || time.Since(start) != setTime {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// A page holds as many bytes as a write set, and an item more.
func TestPagesAreBounded(t *testing.T) {
	page, more, err := onePage(t.Context(), fake{keys: []string{"a", "b", "c"}, value: make([]byte, setBytes/2+1)}, bounds{})
	if err != nil || len(page) != 2 || !more {
		t.Errorf("%d items, more %v, %v", len(page), more, err)
	}
}

// sizes takes writes, and notes of how many ops each is.
type sizes struct {
	served
	of []int
}

func (s *sizes) load(_ context.Context, ops []storage.Op) error {
	s.of = append(s.of, len(ops))
	return nil
}

// A write set is no larger than the store takes: one op, where it cannot do several at once.
func TestWriteSetsOfASink(t *testing.T) {
	for want, info := range map[string]storage.Info{
		"[3]":     {Caps: storage.CapAtomic},
		"[2 1]":   {Caps: storage.CapAtomic, Limits: storage.Limits{Ops: 2}},
		"[1 1 1]": {},
	} {
		to := &sizes{}
		w := sink{to: to, settled: func(_ []storage.Op, err error) error { return err }}.writer(t.Context(), info)
		for _, key := range []string{"a", "b", "c"} {
			if err := w.Add(t.Context(), storage.Put([]byte(key), nil)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(t.Context()); err != nil || fmt.Sprint(to.of) != want {
			t.Errorf("%v, %v; want %s", to.of, err, want)
		}
	}
}

// An item that one side alone has is no difference if it ends anyway.
func TestItemsThatExpireWhileCompared(t *testing.T) {
	for left, want := range map[time.Duration]int{-time.Hour: 0, expiring / 2: 0, time.Minute: 1} {
		c := comparison{print: func(string, ...any) {}}
		c.alone(nil, &storage.Op{ExpiresAt: time.Now().Add(left)})
		if c.found != want {
			t.Errorf("%d differences with %s left, want %d", c.found, left, want)
		}
	}
}
