//go:build unix

package etcd

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/crashtest"
	"github.com/plinthkv/plinth/storage"
)

// settling is a backend whose writes have IDs, and are asked for again until it is known what
// became of them. Its reads wait for members that are down.
type settling struct {
	*Backend
	unknown atomic.Int64 // outcomes
}

func (s *settling) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	for w.ID == [16]byte{} {
		binary.NativeEndian.PutUint64(w.ID[:], rand.Uint64())
	}
	for until := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		version, err := s.Backend.Apply(ctx, w)
		switch code := storage.CodeOf(err); {
		case code == storage.OutcomeUnknown:
			s.unknown.Add(1)
		case code != storage.Unavailable && code != storage.Timeout:
			return version, err
		}
		if time.Now().After(until) {
			return 0, err
		}
	}
}

func (s *settling) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	for until := time.Now().Add(time.Minute); ; {
		page, err := s.Backend.Scan(ctx, q)
		if code := storage.CodeOf(err); code != storage.Unavailable && code != storage.Timeout || time.Now().After(until) {
			return page, err
		}
	}
}

// Servers are killed at random moments: the leader, another one, or all at once, while
// clients write. Nothing that was acknowledged is lost, nothing is there by half or twice,
// no version is given again, and what is unknown is settled by its ID.
func TestKilled(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	b := &settling{Backend: c.open(t, "crash/", impatient)}
	last, writers := &crashtest.Log{}, crashtest.Writers{Each: 2}
	for round := range crashtest.Rounds(8, 3) {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- writers.Run(ctx, b, last.Note) }()
		time.Sleep(100*time.Millisecond + rand.N(200*time.Millisecond))
		victims := c.members
		switch round % 3 {
		case 0:
			victims = []*member{c.leader(t, b.Backend)}
		case 1:
			victims = []*member{c.members[rand.IntN(3)]}
		}
		for _, m := range victims {
			m.stop(syscall.SIGKILL)
		}
		time.Sleep(rand.N(300 * time.Millisecond))
		for _, m := range victims {
			m.start(t)
		}
		c.ready(t)
		time.Sleep(50 * time.Millisecond)
		stop()
		if err := <-ended; err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := crashtest.Check(b, last, last, 0); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	t.Logf("%d writes were acknowledged, %d were unknown at first", last.Total(), b.unknown.Load())
}
