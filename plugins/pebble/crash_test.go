package pebble

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// crashRounds is how often stores are crashed: PLINTH_CRASH, else a few times.
func crashRounds(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("PLINTH_CRASH"))
	switch {
	case err == nil:
		return n
	case testing.Short():
		return 5
	}
	return 25
}

// acked is the last step of each worker that was acknowledged, and the highest version.
type acked struct {
	mu      sync.Mutex
	steps   map[string]uint64
	version uint64
}

func (a *acked) note(worker string, step, version uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.steps[worker], a.version = step, max(a.version, version)
}

// copied is what was acknowledged by now.
func (a *acked) copied() *acked {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := &acked{steps: map[string]uint64{}, version: a.version}
	for worker, step := range a.steps {
		c.steps[worker] = step
	}
	return c
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

// stepValue is a step with some weight, so that files are written and merged.
func stepValue(step uint64) []byte {
	return append(binary.BigEndian.AppendUint64(nil, step), make([]byte, 100+step%900)...)
}

const workersEach = 3

// work has all workers write until ctx ends, each from the step that is in the store on.
func work(ctx context.Context, b *Backend, ack func(worker string, step, version uint64)) error {
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

func steps(ctx context.Context, b *Backend, worker string, write func(string, uint64, uint64) *storage.WriteSet, ack func(string, uint64, uint64)) error {
	step, version, err := found(b, worker)
	for err == nil && ctx.Err() == nil {
		step++
		if version, err = b.Apply(context.Background(), write(worker, step, version)); err == nil {
			ack(worker, step, version)
		}
	}
	return err
}

// found is the step that is in the store under a worker's keys, of which there is one.
func found(b *Backend, worker string) (step, version uint64, err error) {
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

// check compares a store that was opened after a crash with what was acknowledged before: of
// each worker that, what was acknowledged while the crash came, or the one step more whose
// acknowledgement did not arrive. From there the next round goes on.
func check(b *Backend, before, by *acked) error {
	for worker, step := range before.steps {
		is, _, err := found(b, worker)
		if err != nil {
			return err
		}
		if is < step || is > by.steps[worker]+1 {
			return fmt.Errorf("%s: step %d was acknowledged, and %d when the crash was over, %d is there", worker, step, by.steps[worker], is)
		}
		before.steps[worker] = is
	}
	version, err := b.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("after"), nil)}})
	if err == nil && version <= before.version {
		err = fmt.Errorf("version %d was acknowledged, and %d comes after it", before.version, version)
	}
	return err
}

func crashConfig() Config {
	c := DefaultConfig()
	c.WriteBuffer, c.Cache, c.Reserve = 1<<20, 1<<20, 0
	return c
}

const crashDir = "PLINTH_CRASH_DIR"

// TestMain is the plugin, or the writer that is killed, where it is told so.
func TestMain(m *testing.M) {
	servePlugin()
	dir := os.Getenv(crashDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	b, err := open(context.Background(), crashConfig(), sdk.Env{Dir: dir}, vfs.Default)
	if err == nil {
		err = work(context.Background(), b, func(worker string, step, version uint64) {
			fmt.Printf("%s %d %d\n", worker, step, version) // one write, which a pipe takes whole
		})
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A process that writes is killed at random moments. Nothing that it has acknowledged is
// lost, nothing is half there, and no version is given again.
func TestKilled(t *testing.T) {
	dir, last := t.TempDir(), &acked{steps: map[string]uint64{}}
	for round := range crashRounds(t) {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), crashDir+"="+dir)
		var errs strings.Builder
		child.Stderr = &errs
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		began := make(chan struct{})
		read := make(chan error, 1)
		go func() { read <- follow(out, last, began) }()
		select {
		case <-began:
		case <-time.After(time.Minute):
			t.Fatalf("round %d: it acknowledges nothing: %s", round, errs.String())
		}
		time.Sleep(rand.N(100 * time.Millisecond))
		_ = child.Process.Kill()
		if err := <-read; err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // it was killed
		b, err := open(t.Context(), crashConfig(), sdk.Env{Dir: dir, Log: slog.New(slog.DiscardHandler)}, vfs.Default)
		if err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, errs.String())
		}
		if err := check(b, last, last); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	total := uint64(0)
	for _, step := range last.steps {
		total += step
	}
	t.Logf("%d writes were acknowledged", total)
}

// follow notes what a writer acknowledges.
func follow(out io.Reader, last *acked, began chan<- struct{}) error {
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		var worker string
		var step, version uint64
		if _, err := fmt.Sscanf(lines.Text(), "%s %d %d", &worker, &step, &version); err != nil {
			return fmt.Errorf("%q: %w", lines.Text(), err)
		}
		last.note(worker, step, version)
		if n == workersEach*len(kinds) {
			close(began)
		}
	}
	return nil
}

// The same where the machine crashes: what was not synced is lost, all of it or some. Killing
// a process cannot show that, for the system has what it wrote.
func TestPowerLost(t *testing.T) {
	fs, last := vfs.NewCrashableMem(), &acked{steps: map[string]uint64{}}
	by := last
	for round := range crashRounds(t) {
		b, err := open(t.Context(), crashConfig(), sdk.Env{Dir: "store", Log: slog.New(slog.DiscardHandler)}, fs)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := check(b, last, by); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- work(ctx, b, last.note) }()
		time.Sleep(rand.N(60 * time.Millisecond))
		before := last.copied()
		crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rand.IntN(101), RNG: rand.New(rand.NewPCG(uint64(round), 1))})
		during := last.copied()
		stop()
		if err := <-ended; err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := b.Close(t.Context()); err != nil { // to a folder that is no longer used
			t.Fatal(err)
		}
		fs, last, by = crashed, before, during
	}
}
