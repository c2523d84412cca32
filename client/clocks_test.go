package client_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/internal/clock"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// Two clocks that are far apart are one to the caller: what is written comes back
// as it was, and expires when it should.
func TestClocks(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Hour, -48 * time.Hour} {
		ours, theirs := storagetest.NewClock(), storagetest.NewClock()
		theirs.Advance(ahead)
		srv := start(t, grpcserver.Config{}, mem(theirs.Now), theirs.Now)
		c := dial(t, client.Config{Address: srv.address}, client.Settings{Clock: ours.Now})
		s := storage.New(c, storage.Settings{Clock: ours.Now})
		at := ours.Now().Add(time.Minute)
		must(t, errOf(s.Put(t.Context(), []byte("k"), nil, storage.WithTTL(time.Minute))))
		for name, got := range map[string]func() (storage.Item, error){
			"get": func() (storage.Item, error) { return s.GetItem(t.Context(), []byte("k")) },
			"many": func() (storage.Item, error) {
				items, err := s.GetMany(t.Context(), [][]byte{[]byte("k")})
				return items[0], err
			},
			"scan": func() (storage.Item, error) {
				page, err := c.Scan(t.Context(), storage.Query{})
				return page.Items[0], err
			},
		} {
			if it, err := got(); err != nil || !it.ExpiresAt.Equal(at) {
				t.Errorf("a server %s ahead: %s gives %s, want %s: %v", ahead, name, it.ExpiresAt, at, err)
			}
		}
		ours.Advance(time.Minute - time.Millisecond)
		theirs.Advance(time.Minute - time.Millisecond)
		if _, err := s.Get(t.Context(), []byte("k")); err != nil {
			t.Errorf("a server %s ahead: expired early: %v", ahead, err)
		}
		theirs.Advance(time.Millisecond)
		if _, err := s.Get(t.Context(), []byte("k")); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("a server %s ahead: not expired: %v", ahead, err)
		}
	}
}

// A clock that is set while they are connected, on either side and in either direction,
// changes no time to live.
func TestClockIsSetWhileConnected(t *testing.T) {
	for _, side := range []string{"ours", "theirs"} {
		for _, by := range []time.Duration{time.Hour, -time.Hour, 30 * time.Second, -30 * time.Second} {
			t.Run(side+" "+by.String(), func(t *testing.T) {
				clocks := map[string]*settable{"ours": newSettable(), "theirs": newSettable()}
				ours, theirs := clock.New(clocks["ours"].now), clock.New(clocks["theirs"].now)
				srv := start(t, grpcserver.Config{}, mem(theirs.Now), theirs.Now)
				c := dial(t, client.Config{Address: srv.address}, client.Settings{Clock: ours.Now})
				s := storage.New(c, storage.Settings{Clock: ours.Now})
				must(t, s.Set(t.Context(), []byte("other"), nil))
				clocks[side].set(by)
				for _, key := range []string{"a", "b"} { // the second by the difference that the first learned
					must(t, errOf(s.Put(t.Context(), []byte(key), []byte("v"), storage.WithTTL(10*time.Second))))
				}
				pass := func(d time.Duration) { clocks["ours"].set(d); clocks["theirs"].set(d) }
				pass(9 * time.Second)
				for _, key := range []string{"a", "b"} {
					if it, err := s.GetItem(t.Context(), []byte(key)); err != nil {
						t.Errorf("%s is gone after 9 s of 10: %v", key, err)
					} else if left := it.ExpiresAt.Sub(ours.Now()); left < 0 || left > 4*time.Second {
						t.Errorf("%s expires in %v", key, left)
					}
				}
				pass(3 * time.Second) // a clock that was set back runs a little slower
				for _, key := range []string{"a", "b"} {
					if _, err := s.Get(t.Context(), []byte(key)); !errors.Is(err, storage.ErrNotFound) {
						t.Errorf("%s is there after 12 s of 10: %v", key, err)
					}
				}
			})
		}
	}
}

// settable is a clock that tests set.
type settable struct{ at atomic.Int64 }

func newSettable() *settable {
	s := &settable{}
	s.at.Store(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	return s
}

func (s *settable) now() time.Time       { return time.Unix(0, s.at.Load()) }
func (s *settable) set(by time.Duration) { s.at.Add(int64(by)) }
