// Package changetest has helpers for tests of backends that keep their changes: apply, read
// all changes after a version, and compare what they lead to with the state.
package changetest

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// patience limits how long a backend may be unavailable.
const patience = 30 * time.Second

// Apply applies ops as one write set with an ID, and repeats it while the backend is
// unavailable. It returns the version.
func Apply(tb testing.TB, b storage.Backend, ops ...storage.Op) uint64 {
	tb.Helper()
	w := &storage.WriteSet{Ops: ops}
	for i := range w.ID {
		w.ID[i] = byte(rand.IntN(256))
	}
	for end := time.Now().Add(patience); ; {
		version, err := b.Apply(context.Background(), w)
		if err == nil {
			return version
		}
		if !storage.AsError(err).Retryable() && !errors.Is(err, storage.ErrOutcomeUnknown) || time.Now().After(end) {
			tb.Fatal(err)
		}
	}
}

// After returns all changes that q selects, on pages of q.Limit, and the version that the
// last page ends at. It checks that the versions of each page ascend and are within it.
func After(tb testing.TB, b storage.Backend, q storage.ChangeQuery) (all []storage.Change, next uint64) {
	tb.Helper()
	for end := time.Now().Add(patience); ; {
		page, err := b.Changes(context.Background(), q)
		switch {
		case storage.CodeOf(err) == storage.Unavailable && time.Now().Before(end):
			continue
		case err != nil:
			tb.Fatalf("after %d: %v", q.After, err)
		}
		for i, c := range page.Changes {
			if c.Version <= q.After || c.Version > page.Next || i > 0 && c.Version < page.Changes[i-1].Version {
				tb.Fatalf("a change of version %d on a page after %d to %d", c.Version, q.After, page.Next)
			}
		}
		if all = append(all, page.Changes...); len(page.Changes) == 0 {
			return all, page.Next
		}
		q.After = page.Next
	}
}

// State returns the values that q selects, by key, as of one version.
func State(tb testing.TB, b storage.Backend, q storage.Query) (state map[string]string, version uint64) {
	tb.Helper()
	state = map[string]string{}
	for {
		page, err := b.Scan(context.Background(), q)
		if err != nil {
			tb.Fatal(err)
		}
		for _, it := range page.Items {
			state[string(it.Key)] = string(it.Value)
		}
		if page.Next == nil {
			return state, page.Version
		}
		q.Start, q.AtVersion = page.Next, page.Version
	}
}

// Replay returns the state that changes lead to from a state, which it leaves as it is. A nil
// state is empty.
func Replay(state map[string]string, changes []storage.Change) map[string]string {
	if state = maps.Clone(state); state == nil {
		state = map[string]string{}
	}
	for _, c := range changes {
		switch c.Kind {
		case storage.ChangePut:
			state[string(c.Key)] = string(c.Value)
		case storage.ChangeDeleteRange:
			maps.DeleteFunc(state, func(k, _ string) bool { return storage.InRange([]byte(k), c.Key, c.End) })
		default:
			delete(state, string(c.Key))
		}
	}
	return state
}
