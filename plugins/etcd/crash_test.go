//go:build unix

package etcd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// crashRounds is how often servers are killed: PLINTH_CRASH, else a few times.
func crashRounds(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("PLINTH_CRASH"))
	switch {
	case err == nil:
		return n
	case testing.Short():
		return 3
	}
	return 8
}

// A worker has keys of its own, and writes its steps to them, one after the other. Each kind
// of worker has a way to write that must not come apart.
var kinds = map[string]func(prefix string, step uint64, version uint64) *storage.WriteSet{
	"one": func(prefix string, step, _ uint64) *storage.WriteSet {
		return &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte(prefix+"0"), stepValue(step))}}
	},
	"many": func(prefix string, step, _ uint64) *storage.WriteSet {
		w := &storage.WriteSet{}
		for i := range 5 {
			w.Ops = append(w.Ops, storage.Put(fmt.Appendf(nil, "%s%d", prefix, i), stepValue(step)))
		}
		return w
	},
	"conditional": func(prefix string, step, version uint64) *storage.WriteSet {
		c := storage.Absent([]byte(prefix + "0"))
		if version != 0 {
			c = storage.HasVersion([]byte(prefix+"0"), version)
		}
		return &storage.WriteSet{Checks: []storage.Check{c}, Ops: []storage.Op{storage.Put([]byte(prefix+"0"), stepValue(step))}}
	},
	"range": func(prefix string, step, _ uint64) *storage.WriteSet {
		return &storage.WriteSet{Ops: []storage.Op{
			storage.DeleteRange([]byte(prefix), storage.PrefixEnd([]byte(prefix))),
			storage.Put(fmt.Appendf(nil, "%s%d", prefix, step), stepValue(step)),
		}}
	},
	"expiring": func(prefix string, step, _ uint64) *storage.WriteSet {
		return &storage.WriteSet{Ops: []storage.Op{storage.PutUntil([]byte(prefix+"0"), stepValue(step), time.Now().Add(time.Hour))}}
	},
}

func stepValue(step uint64) []byte {
	return append(binary.BigEndian.AppendUint64(nil, step), make([]byte, 100+step%900)...)
}

const workersEach = 2

// acked is the last step of each worker that was acknowledged, and the highest version.
type acked struct {
	mu      sync.Mutex
	steps   map[string]uint64
	version uint64
	unknown int
}

// run has all workers write until ctx ends.
func (a *acked) run(ctx context.Context, b *Backend) error {
	var wg sync.WaitGroup
	errs := make(chan error, workersEach*len(kinds))
	for kind, write := range kinds {
		for i := range workersEach {
			worker := fmt.Sprintf("%s-%d/", kind, i)
			wg.Go(func() { errs <- a.worker(ctx, b, worker, write) })
		}
	}
	wg.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// worker writes step after step. Each has an ID, and is asked for again with it until it is
// known what became of it, the last one too.
func (a *acked) worker(ctx context.Context, b *Backend, worker string, write func(string, uint64, uint64) *storage.WriteSet) error {
	step, version, err := found(b, worker)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		step++
		w := write(worker, step, version)
		for i := range w.ID {
			w.ID[i] = byte(rand.IntN(256))
		}
		before := version
		if version, err = a.settled(b, w); err != nil {
			return fmt.Errorf("%s step %d: %w", worker, step, err)
		}
		if version <= before {
			return fmt.Errorf("%s: version %d after %d", worker, version, before)
		}
		a.mu.Lock()
		a.steps[worker], a.version = step, max(a.version, version)
		a.mu.Unlock()
	}
	return nil
}

func (a *acked) settled(b *Backend, w *storage.WriteSet) (uint64, error) {
	for until := time.Now().Add(time.Minute); ; {
		version, err := b.Apply(context.Background(), w)
		switch code := storage.CodeOf(err); {
		case code == storage.OutcomeUnknown:
			a.mu.Lock()
			a.unknown++
			a.mu.Unlock()
		case code != storage.Unavailable && code != storage.Timeout:
			return version, err
		}
		if time.Now().After(until) {
			return 0, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// found is the step that is in the store under a worker's keys, of which there is one.
func found(b *Backend, worker string) (step, version uint64, err error) {
	var page storage.Page
	for until := time.Now().Add(time.Minute); ; { // members may be down
		page, err = b.Scan(context.Background(), storage.Query{Start: []byte(worker), End: storage.PrefixEnd([]byte(worker))})
		if code := storage.CodeOf(err); code != storage.Unavailable && code != storage.Timeout || time.Now().After(until) {
			break
		}
	}
	if err != nil || len(page.Items) == 0 {
		return 0, 0, err
	}
	for i, it := range page.Items {
		is := binary.BigEndian.Uint64(it.Value)
		if i > 0 && is != step {
			return 0, 0, fmt.Errorf("%s is half there: steps %d and %d", worker, step, is)
		}
		step, version = is, it.Version
	}
	want := 1
	if strings.HasPrefix(worker, "many") {
		want = 5
	}
	if len(page.Items) != want {
		return 0, 0, fmt.Errorf("%s has %d keys, not %d", worker, len(page.Items), want)
	}
	return step, version, nil
}

// check compares the store with what was acknowledged.
func (a *acked) check(b *Backend) error {
	for worker, step := range a.steps {
		is, _, err := found(b, worker)
		if err != nil {
			return err
		}
		if is != step {
			return fmt.Errorf("%s: step %d was acknowledged, %d is there", worker, step, is)
		}
	}
	page, err := b.Scan(context.Background(), storage.Query{Limit: 1})
	if err == nil && page.Version < a.version {
		err = fmt.Errorf("version %d was acknowledged, and the store is at %d", a.version, page.Version)
	}
	return err
}

// Servers are killed at random moments: the leader, another one, or all at once, while
// clients write. Nothing that was acknowledged is lost, nothing is there by half or twice,
// no version is given again, and what is unknown is settled by its ID.
func TestKilled(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	b := c.open(t, "crash/", impatient)
	a := &acked{steps: map[string]uint64{}}
	for round := range crashRounds(t) {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.run(ctx, b) }()
		time.Sleep(100*time.Millisecond + rand.N(200*time.Millisecond))
		victims := c.members
		switch round % 3 {
		case 0:
			victims = []*member{c.leader(t, b)}
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
		if err := a.check(b); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	total := uint64(0)
	for _, step := range a.steps {
		total += step
	}
	t.Logf("%d writes were acknowledged, %d were unknown at first", total, a.unknown)
}
