package postgres

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// crashRounds is how often something is killed: PLINTH_CRASH, else a few times.
func crashRounds(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("PLINTH_CRASH"))
	switch {
	case err == nil:
		return n
	case testing.Short():
		return 3
	}
	return 25
}

// acked is the last step of each worker that was acknowledged, and the highest version.
type acked struct {
	mu      sync.Mutex
	steps   map[string]uint64
	version uint64
	total   int
}

func (a *acked) note(worker string, step, version uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.steps[worker], a.version = step, max(a.version, version)
	a.total++
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
	"identified": func(prefix string, step, version uint64) *storage.WriteSet {
		w := &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte(prefix+"0"), stepValue(step))}}
		id := sha256.Sum256(fmt.Append(nil, prefix, step, " ", version))
		copy(w.ID[:], id[:])
		return w
	},
}

func stepValue(step uint64) []byte {
	return append(binary.BigEndian.AppendUint64(nil, step), make([]byte, 100+step%900)...)
}

const workersEach = 3

// work has all workers write until ctx ends, or something fails as it may when a server is
// killed; each from the step that is in the store on.
func work(ctx context.Context, b storage.Backend, ack func(worker string, step, version uint64)) error {
	var wg sync.WaitGroup
	errs := make(chan error, workersEach*len(kinds))
	for kind, write := range kinds {
		for i := range workersEach {
			worker := fmt.Sprintf("%s-%d/", kind, i)
			wg.Go(func() { errs <- steps(ctx, b, worker, write, ack) })
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

func steps(ctx context.Context, b storage.Backend, worker string, write func(string, uint64, uint64) *storage.WriteSet, ack func(string, uint64, uint64)) error {
	step, version, err := found(b, worker)
	for err == nil && ctx.Err() == nil {
		step++
		if version, err = b.Apply(context.Background(), write(worker, step, version)); err == nil {
			ack(worker, step, version)
		}
	}
	if errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrOutcomeUnknown) {
		return nil // the server was killed
	}
	return err
}

// found is the step that is in the store under a worker's keys, of which there is one.
func found(b storage.Backend, worker string) (step, version uint64, err error) {
	page, err := b.Scan(context.Background(), storage.Query{Start: []byte(worker), End: storage.PrefixEnd([]byte(worker))})
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

// check compares a store after a crash with what was acknowledged before: of each worker that,
// or the one step more whose acknowledgement did not arrive. From there the next round goes on.
func check(b storage.Backend, before *acked) error {
	for worker, step := range before.steps {
		is, _, err := found(b, worker)
		if err != nil {
			return err
		}
		if is != step && is != step+1 {
			return fmt.Errorf("%s: step %d was acknowledged, %d is there", worker, step, is)
		}
		before.steps[worker] = is
	}
	version, err := b.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("after"), nil)}})
	if err == nil && version <= before.version {
		err = fmt.Errorf("version %d was acknowledged, and %d comes after it", before.version, version)
	}
	return err
}

// A server is killed at random moments, with all its processes, under writers whose backend
// stays. Nothing that it has acknowledged is lost, nothing is half there, and no version is
// given again.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	s, last := ownServer(t, "shared_buffers=16MB"), &acked{steps: map[string]uint64{}}
	b := opened(t, s, "crashes")
	for round := range crashRounds(t) {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		before := last.total
		go func() { ended <- work(ctx, b, last.note) }()
		began(t, func() int { last.mu.Lock(); defer last.mu.Unlock(); return last.total - before })
		time.Sleep(rand.N(50 * time.Millisecond))
		if err := s.Crash(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := check(b, last); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	t.Logf("%d writes were acknowledged", last.total)
}

// began waits until each worker may have written.
func began(t *testing.T, written func() int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); written() < workersEach*len(kinds); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it acknowledges nothing")
		}
	}
}

const crashConfig = "PLINTH_CRASH_CONFIG"

// serveCrash is the writer that is killed, where this program was started as one.
func serveCrash() {
	config := os.Getenv(crashConfig)
	if config == "" {
		return
	}
	b, err := Open(context.Background(), sdk.Env{Config: []byte(config)})
	if err == nil {
		err = work(context.Background(), b, func(worker string, step, version uint64) {
			fmt.Printf("%s %d %d\n", worker, step, version) // one write, which a pipe takes whole
		})
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// The same where the process that writes is killed, as a plugin's or a host's may be. What it
// has sent the server does, until it notices.
func TestKilledClient(t *testing.T) {
	t.Parallel()
	s, table, last := server(t), freshTable(), &acked{steps: map[string]uint64{}}
	for round := range crashRounds(t) {
		child := osexec.Command(os.Args[0])
		child.Env = append(os.Environ(), crashConfig+"="+string(configOf(s, table, "dsn", s.DSN("postgres")+"&application_name=killed")))
		var errs strings.Builder
		child.Stderr = &errs
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		before := last.total
		read := make(chan error, 1)
		go func() { read <- follow(out, last) }()
		began(t, func() int { last.mu.Lock(); defer last.mu.Unlock(); return last.total - before })
		time.Sleep(rand.N(50 * time.Millisecond))
		_ = child.Process.Kill()
		if err := <-read; err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // it was killed
		if err := s.Gone(t.Context(), "killed"); err != nil {
			t.Fatal(err)
		}
		b := opened(t, s, table)
		if err := check(b, last); err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, errs.String())
		}
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d writes were acknowledged", last.total)
}

// follow notes what a writer acknowledges.
func follow(out io.Reader, last *acked) error {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var worker string
		var step, version uint64
		if _, err := fmt.Sscanf(lines.Text(), "%s %d %d", &worker, &step, &version); err != nil {
			return fmt.Errorf("%q: %w", lines.Text(), err)
		}
		last.note(worker, step, version)
	}
	return nil
}
