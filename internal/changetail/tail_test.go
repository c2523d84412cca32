package changetail

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// fed is a tail that a test feeds; older and watches count what its store is asked.
type fed struct {
	*Tail
	end            func()
	running        sync.WaitGroup
	older, watches int
	err            error // of the next watch
}

func newFed() *fed {
	ctx, end := context.WithCancel(context.Background())
	f := &fed{end: end}
	f.Tail = New(Config{Layer: "test", Living: ctx, Go: f.running.Go, Patience: time.Second, Ask: func() {},
		Watch: func(ctx context.Context, _ uint64) error {
			f.watches++
			if err := f.err; err != nil {
				f.err = nil
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		},
		Older: func(_ context.Context, q storage.ChangeQuery, current uint64) (storage.ChangePage, error) {
			f.older++
			return storage.ChangePage{Next: current}, nil
		}})
	return f
}

func (f *fed) stop() { f.end(); f.running.Wait() }

func (f *fed) put(version uint64, size int) {
	f.Add(version, []storage.Change{{Kind: storage.ChangePut, Key: binary.BigEndian.AppendUint64(nil, version), Value: make([]byte, size), Version: version}})
}

// What a tail keeps is bounded in bytes and in number; what is before it is asked of the store.
func TestTailIsBounded(t *testing.T) {
	for name, c := range map[string]struct{ n, size int }{"bytes": {100, 1 << 20}, "number": {mostChanges + 1000, 0}, "one that is larger": {1, mostBytes + 1}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFed()
			defer f.stop()
			if _, err := f.Changes(t.Context(), storage.ChangeQuery{FromNow: true}, 10); err != nil {
				t.Fatal(err)
			}
			last := uint64(10 + c.n)
			for v := uint64(11); v <= last; v++ {
				f.put(v, c.size)
			}
			if f.bytes > mostBytes || f.count > mostChanges {
				t.Errorf("%s: %d changes with %d bytes are kept", name, f.count, f.bytes)
			}
			if page, err := f.Changes(t.Context(), storage.ChangeQuery{After: 10}, last); err != nil || f.older != 1 || page.Next != last {
				t.Errorf("%s: the store was asked %d times: %v", name, f.older, err)
			}
			if page, err := f.Changes(t.Context(), storage.ChangeQuery{After: last - 1}, last); c.n > 1 && (err != nil || f.older != 1 || len(page.Changes) != 1) {
				t.Errorf("%s: what is recent comes from the store: %v", name, err)
			}
		})
	}
}

// Calls that wait are bounded in number, are woken together, and end with the store.
func TestTailHasRoomForSoMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFed()
		var all sync.WaitGroup
		ask := func(after uint64, want storage.Code) {
			_, err := f.Changes(context.Background(), storage.ChangeQuery{After: after, Wait: time.Minute}, after)
			if storage.CodeOf(err) != want {
				t.Errorf("a call that waits ends with %v, want %s", err, want)
			}
		}
		for range mostFollowers {
			all.Go(func() { ask(1, storage.OK) })
		}
		synctest.Wait()
		ask(1, storage.Unavailable)
		f.put(2, 1)
		all.Wait()
		all.Go(func() { ask(2, storage.ShuttingDown) })
		synctest.Wait()
		f.stop()
		all.Wait()
	})
}

// A tail ends when it has had no followers for long, and begins anew with the next; one
// whose watch has lost its place begins anew as well, and has those who follow asked for
// what is between.
func TestTailBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFed()
		defer f.stop()
		now := func(version uint64) {
			if _, err := f.Changes(t.Context(), storage.ChangeQuery{FromNow: true}, version); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		now(1)
		f.put(2, 1)
		time.Sleep(2 * unusedFor)
		synctest.Wait()
		if f.runs || f.sets != nil {
			t.Error("it runs without a follower")
		}
		f.err = Gone{Oldest: 20}
		now(10)
		time.Sleep(time.Second)
		synctest.Wait()
		if f.base != 20 || f.watches != 3 {
			t.Errorf("it begins at %d, after %d watches", f.base, f.watches)
		}
		if _, err := f.Changes(t.Context(), storage.ChangeQuery{After: 15}, 20); err != nil || f.older != 1 {
			t.Errorf("what is between is not asked for: %v", err)
		}
		if _, err := f.Changes(t.Context(), storage.ChangeQuery{After: 21}, 20); !errors.Is(err, storage.ErrVersionGone) {
			t.Errorf("of the future: %v", err)
		}
	})
}
