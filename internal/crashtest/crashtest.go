// Package crashtest tests that a durable backend keeps what it has acknowledged: writers of
// numbered steps run until something is killed, and afterwards the store is compared with
// the answers they got.
package crashtest

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Rounds returns how often to crash: PLINTH_CRASH, else usual, or short with -short.
func Rounds(usual, short int) int {
	n, err := strconv.Atoi(os.Getenv("PLINTH_CRASH"))
	switch {
	case err == nil:
		return n
	case testing.Short():
		return short
	}
	return usual
}

// Log holds the last step of each writer that was acknowledged, and the highest version.
type Log struct {
	mu      sync.Mutex
	steps   map[string]uint64
	version uint64
	total   int
}

// Note adds an acknowledged step.
func (l *Log) Note(writer string, step, version uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.steps == nil {
		l.steps = map[string]uint64{}
	}
	l.steps[writer], l.version = step, max(l.version, version)
	l.total++
}

// Total returns how many steps were acknowledged.
func (l *Log) Total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// Copy returns what was acknowledged by now.
func (l *Log) Copy() *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &Log{steps: maps.Clone(l.steps), version: l.version, total: l.total}
}

// Print notes a step on standard output, for [Log.Follow] in another process.
func Print(writer string, step, version uint64) {
	fmt.Printf("%s %d %d\n", writer, step, version) // one write, which a pipe takes whole
}

// Follow notes what another process prints, until it ends.
func (l *Log) Follow(out io.Reader) error {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var writer string
		var step, version uint64
		if _, err := fmt.Sscanf(lines.Text(), "%s %d %d", &writer, &step, &version); err != nil {
			return fmt.Errorf("%q: %w", lines.Text(), err)
		}
		l.Note(writer, step, version)
	}
	return nil
}

// Writers describes the writers. There are some of each kind, all at once; a kind writes in a way
// that must not come apart.
type Writers struct {
	Each int // of each kind
	// Crashed reports whether an error of a call is due to the crash: its writer ends. By
	// default no error is.
	Crashed func(error) bool
}

// Run has all writers write until ctx ends, each from the step on that is in the store. It calls
// note for what is acknowledged.
func (w Writers) Run(ctx context.Context, b storage.Backend, note func(writer string, step, version uint64)) error {
	var wg sync.WaitGroup
	errs := make(chan error, w.count())
	for kind, write := range kinds {
		for i := range w.Each {
			wg.Go(func() { errs <- w.run(ctx, b, fmt.Sprintf("%s-%d/", kind, i), write, note) })
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

func (w Writers) count() int { return w.Each * len(kinds) }

func (w Writers) run(ctx context.Context, b storage.Backend, writer string, write kind, note func(string, uint64, uint64)) error {
	step, version, err := found(b, writer)
	for err == nil && ctx.Err() == nil {
		step++
		before := version
		if version, err = b.Apply(context.Background(), write(writer, step, version)); err == nil && version <= before {
			err = fmt.Errorf("version %d after %d", version, before)
		}
		if err == nil {
			note(writer, step, version)
		}
	}
	if err == nil || w.Crashed != nil && w.Crashed(err) {
		return nil
	}
	return fmt.Errorf("%s step %d: %w", writer, step, err)
}

// Began waits until as many steps as there are writers were acknowledged, beside the first ones.
func (w Writers) Began(t testing.TB, l *Log, first int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); l.Total()-first < w.count(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing is acknowledged")
		}
	}
}

// kind returns the write of a step at keys with a prefix. version is that of the step before.
type kind func(prefix string, step, version uint64) *storage.WriteSet

var kinds = map[string]kind{
	"one": func(prefix string, step, _ uint64) *storage.WriteSet {
		return &storage.WriteSet{Ops: []storage.Op{put(prefix, 0, step)}}
	},
	"many": func(prefix string, step, _ uint64) *storage.WriteSet {
		w := &storage.WriteSet{}
		for i := range uint64(keysOfMany) {
			w.Ops = append(w.Ops, put(prefix, i, step))
		}
		return w
	},
	"conditional": func(prefix string, step, version uint64) *storage.WriteSet {
		key := fmt.Appendf(nil, "%s%d", prefix, 0)
		c := storage.Absent(key)
		if version != 0 {
			c = storage.HasVersion(key, version)
		}
		return &storage.WriteSet{Checks: []storage.Check{c}, Ops: []storage.Op{put(prefix, 0, step)}}
	},
	"range": func(prefix string, step, _ uint64) *storage.WriteSet {
		return &storage.WriteSet{Ops: []storage.Op{
			storage.DeleteRange([]byte(prefix), storage.PrefixEnd([]byte(prefix))), put(prefix, step, step)}}
	},
	"expiring": func(prefix string, step, _ uint64) *storage.WriteSet {
		o := put(prefix, 0, step)
		o.ExpiresAt = time.Now().Add(time.Hour)
		return &storage.WriteSet{Ops: []storage.Op{o}}
	},
	"identified": func(prefix string, step, version uint64) *storage.WriteSet {
		id := sha256.Sum256(fmt.Append(nil, prefix, step, " ", version))
		return &storage.WriteSet{ID: [16]byte(id[:16]), Ops: []storage.Op{put(prefix, 0, step)}}
	},
}

// keysOfMany is how many keys a step of the kind "many" writes.
const keysOfMany = 5

// put writes a step, with some weight, so that files are written and merged.
func put(prefix string, key, step uint64) storage.Op {
	return storage.Put(fmt.Appendf(nil, "%s%d", prefix, key), append(binary.BigEndian.AppendUint64(nil, step), make([]byte, 100+step%900)...))
}

// found returns the step that is in the store under a writer's keys, of which there is one, and
// its version.
func found(b storage.Backend, writer string) (step, version uint64, err error) {
	page, err := b.Scan(context.Background(), storage.Query{Start: []byte(writer), End: storage.PrefixEnd([]byte(writer))})
	if err != nil || len(page.Items) == 0 {
		return 0, 0, err
	}
	for i, it := range page.Items {
		is := binary.BigEndian.Uint64(it.Value)
		if i > 0 && is != step {
			return 0, 0, fmt.Errorf("%s is half there: steps %d and %d", writer, step, is)
		}
		step, version = is, it.Version
	}
	want := 1
	if strings.HasPrefix(writer, "many") {
		want = keysOfMany
	}
	if len(page.Items) != want {
		return 0, 0, fmt.Errorf("%s has %d keys, not %d", writer, len(page.Items), want)
	}
	return step, version, nil
}

// Check compares a store with what was acknowledged before a crash. Of each writer it has that
// step, or a later one up to that of by, which was acknowledged while the crash came, and up to
// unacknowledged steps more. Check notes them in before: the next round goes on from there.
func Check(b storage.Backend, before, by *Log, unacknowledged uint64) error {
	for writer, step := range before.steps {
		is, _, err := found(b, writer)
		if err != nil {
			return err
		}
		if is < step || is > by.steps[writer]+unacknowledged {
			return fmt.Errorf("%s: step %d was acknowledged, and %d when the crash was over, %d is there", writer, step, by.steps[writer], is)
		}
		before.steps[writer] = is
	}
	version, err := b.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("after"), nil)}})
	if err == nil && version <= before.version {
		err = fmt.Errorf("version %d was acknowledged, and %d comes after it", before.version, version)
	}
	return err
}
