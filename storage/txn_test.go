package storage_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/plinthkv/plinth/storage"
)

// program is what a transaction must come to, found by doing its writes again in
// their order: the rules as one would say them, not as Txn keeps them.
type program struct {
	writes  []func(map[string]string)
	touched []func(key string) bool
	must    []func(map[string]string) bool // conditions on what is stored at the commit
}

func (p *program) touches(key string) bool {
	return slices.ContainsFunc(p.touched, func(f func(string) bool) bool { return f(key) })
}

// over is stored with the writes done to it.
func (p *program) over(stored map[string]string) map[string]string {
	view := maps.Clone(stored)
	for _, w := range p.writes {
		w(view)
	}
	return view
}

func (p *program) put(key, value string, keep bool) {
	p.writes = append(p.writes, func(m map[string]string) {
		if delete(m, key); keep {
			m[key] = value
		}
	})
	p.touched = append(p.touched, func(k string) bool { return k == key })
}

func (p *program) clear(start, end string) {
	in := func(k string) bool { return k >= start && k < end }
	p.writes = append(p.writes, func(m map[string]string) { maps.DeleteFunc(m, func(k, _ string) bool { return in(k) }) })
	p.touched = append(p.touched, in)
}

// A transaction, with concurrent writers, against the rules: program order, own
// writes seen by reads and ranges, a conditional write judged at once where the
// key was written before, else at the commit, and all or nothing.
func TestTxnRules(t *testing.T) {
	keys := rapid.SampledFrom([]string{"a", "b", "c", "d"})
	values := rapid.SampledFrom([]string{"", "1", "2"})
	rapid.Check(t, func(t *rapid.T) {
		ctx := t.Context()
		s, _ := newModel(t)
		stored := map[string]string{}
		outside := func() {
			if k, v := keys.Draw(t, "key"), values.Draw(t, "value"); v == "" {
				must(t, s.Delete(ctx, []byte(k)))
				delete(stored, k)
			} else {
				must(t, s.Set(ctx, []byte(k), []byte(v)))
				stored[k] = v
			}
		}
		for range 4 {
			outside()
		}
		tx, p := s.Begin(storage.ReadCommitted), &program{}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			k, v := keys.Draw(t, "key"), values.Draw(t, "value")
			switch rapid.IntRange(0, 7).Draw(t, "step") {
			case 0:
				outside()
			case 1:
				got, err := tx.Get(ctx, []byte(k))
				view := stored
				if p.touches(k) {
					view = p.over(map[string]string{})
				}
				if want, ok := view[k]; ok != (err == nil) || string(got) != want {
					t.Fatalf("Get(%q) = %q, %v, want %q, %t", k, got, err, want, ok)
				}
			case 2:
				must(t, tx.Set(ctx, []byte(k), []byte(v)))
				p.put(k, v, true)
			case 3:
				ttl := rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(t, "ttl")
				must(t, errOf(tx.Put(ctx, []byte(k), []byte(v), storage.WithTTL(ttl))))
				p.put(k, v, ttl > 0)
			case 4:
				must(t, tx.Delete(ctx, []byte(k)))
				p.put(k, "", false)
			case 5:
				end := keys.Draw(t, "end")
				must(t, errOf(tx.ClearRange(ctx, []byte(k), []byte(end))))
				p.clear(k, end)
			case 6:
				want := values.Draw(t, "expected")
				expected, holds := storage.IfValue([]byte(want)), func(m map[string]string) bool { v, ok := m[k]; return ok && v == want }
				if want == "" {
					expected, holds = storage.IfAbsent(), func(m map[string]string) bool { _, ok := m[k]; return !ok }
				}
				_, err := tx.Put(ctx, []byte(k), []byte(v), expected)
				switch {
				case !p.touches(k):
					must(t, err)
					p.must = append(p.must, holds)
					p.put(k, v, true)
				case holds(p.over(map[string]string{})):
					must(t, err)
					p.put(k, v, true)
				default:
					wantCode(t, err, storage.Conflict)
				}
			default:
				got := map[string]string{}
				for it, err := range tx.Range(ctx, nil, nil, storage.RangeOptions{PageItems: 2}) {
					must(t, err)
					got[string(it.Key)] = string(it.Value)
				}
				if want := p.over(stored); !maps.Equal(got, want) {
					t.Fatalf("Range = %q, want %q", got, want)
				}
			}
		}
		want, commits := p.over(stored), true
		for _, holds := range p.must {
			commits = commits && holds(stored)
		}
		_, err := tx.Commit(ctx)
		if !commits {
			wantCode(t, err, storage.Conflict)
			want = stored
		} else {
			must(t, err)
		}
		got := map[string]string{}
		for it, err := range s.Range(ctx, nil, nil, storage.RangeOptions{}) {
			must(t, err)
			got[string(it.Key)] = string(it.Value)
		}
		if !maps.Equal(got, want) {
			t.Fatalf("after the commit %q, want %q", got, want)
		}
	})
}

// What a serializable transaction read becomes checks, each once, in the order
// of the reads; a read committed one has none.
func TestTxnReadsBecomeChecks(t *testing.T) {
	var got []string
	s, clock := newModel(t)
	fill(t, s, "a", "b", "c", "d")
	b := &stub{info: s.Info(), scan: func(q storage.Query) (storage.Page, error) { return s.Backend().Scan(t.Context(), q) },
		get: func(key []byte) (storage.Item, error) { return s.Backend().Get(t.Context(), key) },
		apply: func(w *storage.WriteSet) (uint64, error) {
			for _, c := range w.Checks {
				got = append(got, fmt.Sprintf("%d %s-%s", c.Kind, c.Key, c.End))
			}
			return s.Apply(t.Context(), w)
		}}
	for _, c := range []struct {
		level storage.Isolation
		want  string
	}{
		{storage.ReadCommitted, "1 own"},
		{storage.Serializable, "1 own, 4 b-, 1 x-, 4 a-, 5 -b\x00, 4 c-, 5 b-c\x00"},
	} {
		got = nil
		tx := storage.New(b, storage.Settings{Clock: clock.Now}).Begin(c.level)
		for _, k := range []string{"b", "x", "b", "x"} {
			tx.Get(t.Context(), []byte(k))
		}
		for it, err := range tx.Range(t.Context(), nil, nil, storage.RangeOptions{}) {
			must(t, err)
			if string(it.Key) == "b" {
				break
			}
		}
		must(t, tx.Set(t.Context(), []byte("bb"), nil)) // own writes need no check
		for it, err := range tx.Range(t.Context(), []byte("b"), nil, storage.RangeOptions{Limit: 3}) {
			must(t, err)
			_ = it
		}
		must(t, errOf(tx.Put(t.Context(), []byte("own"), nil, storage.IfAbsent())))
		must(t, errOf(tx.Commit(t.Context())))
		must(t, s.Delete(t.Context(), []byte("own")))
		must(t, s.Delete(t.Context(), []byte("bb")))
		want := strings.ReplaceAll(c.want, "own", "own-")
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("isolation %d: %q, want %q", c.level, text, want)
		}
	}
}

// A commit that fails for another reason than a conflict says so, and ends the
// transaction too.
func TestTxnCommitFails(t *testing.T) {
	lost := &storage.Error{Code: storage.OutcomeUnknown, Unknown: true}
	for _, failure := range []error{storage.ErrUnavailable, lost} {
		b := &stub{apply: func(*storage.WriteSet) (uint64, error) { return 0, failure }}
		tx := storage.New(b, storage.Settings{}).Begin(storage.ReadCommitted)
		must(t, tx.Set(t.Context(), []byte("k"), nil))
		wantCode(t, errOf(tx.Commit(t.Context())), storage.CodeOf(failure))
		wantCode(t, errOf(tx.Commit(t.Context())), storage.TxnDone)
		tx.Rollback()
		tx.Rollback()
	}
}

// What a transaction was handed and what it gives away it does not share.
func TestTxnOwnership(t *testing.T) {
	s, _ := newModel(t)
	tx := s.Begin(storage.Serializable)
	key, value, expected := []byte("key"), []byte("value"), []byte("x")
	must(t, s.Set(t.Context(), []byte("cas"), []byte("x")))
	must(t, tx.Set(t.Context(), key, value))
	cas := []byte("cas")
	must(t, errOf(tx.Put(t.Context(), cas, value, storage.IfValue(expected))))
	key[0], value[0], cas[0], expected[0] = '!', '!', '!', '!'
	got, err := tx.Get(t.Context(), []byte("key"))
	must(t, err)
	got[0] = '!'
	for it, err := range tx.Prefix(t.Context(), []byte("key"), storage.RangeOptions{}) {
		must(t, err)
		it.Key[0], it.Value[0] = '!', '!'
	}
	must(t, errOf(tx.Commit(t.Context())))
	wantValue(t, s, "key", "value")
	wantValue(t, s, "cas", "value")
}

// Limits are checked where the write is made, the key's before the value's.
func TestTxnLimits(t *testing.T) {
	b := &stub{info: storage.Info{Limits: storage.Limits{Key: 3, Value: 3}}, apply: func(w *storage.WriteSet) (uint64, error) {
		if len(w.Ops) != 1 || string(w.Ops[0].Key) != "k" {
			t.Errorf("%+v is committed", w.Ops)
		}
		return 1, nil
	}}
	tx := storage.New(b, storage.Settings{}).Begin(storage.ReadCommitted)
	for _, c := range []struct {
		err  error
		kind string
	}{
		{tx.Set(t.Context(), []byte("long"), nil), "key"}, {tx.Set(t.Context(), nil, []byte("long")), "value"}, {tx.Set(t.Context(), []byte("long"), []byte("long")), "key"},
		{tx.Delete(t.Context(), []byte("long")), "key"}, {errOf(tx.Remove(t.Context(), []byte("long"), storage.IfPresent())), "key"},
		{errOf(tx.Put(t.Context(), nil, []byte("long"), storage.WithTTL(0))), "value"},
	} {
		if e := storage.AsError(c.err); storage.CodeOf(c.err) != storage.SizeLimit || e.Limit.Kind != c.kind || e.Limit.Actual != 4 {
			t.Errorf("%v, want the limit of a %s", c.err, c.kind)
		}
	}
	must(t, tx.Set(t.Context(), []byte("k"), []byte("abc")))
	must(t, errOf(tx.Commit(t.Context())))
}

// The limit of a range in a transaction counts what it sees: what it has removed
// itself takes no place, what it has added does. An empty or inverted range is
// empty, also over what it has written.
func TestTxnRangeLimits(t *testing.T) {
	s, _ := newModel(t)
	fill(t, s, "a", "b", "c", "e", "f")
	tx := s.Begin(storage.ReadCommitted)
	defer tx.Rollback()
	must(t, tx.Delete(t.Context(), []byte("a")))
	must(t, errOf(tx.ClearRange(t.Context(), []byte("b"), []byte("c"))))
	must(t, tx.Set(t.Context(), []byte("d"), nil))
	for _, c := range []struct {
		start, end []byte
		o          storage.RangeOptions
		want       string
	}{
		{nil, nil, storage.RangeOptions{}, "cdef"},
		{nil, nil, storage.RangeOptions{Limit: 1}, "c"},
		{nil, nil, storage.RangeOptions{Limit: 2}, "cd"},
		{nil, nil, storage.RangeOptions{Limit: 3, PageItems: 1}, "cde"},
		{nil, nil, storage.RangeOptions{Limit: 3, Reverse: true}, "fed"},
		{nil, []byte("c"), storage.RangeOptions{Limit: 1}, ""},
		{nil, nil, storage.RangeOptions{Limit: 1, After: []byte("c")}, "d"},
		{nil, nil, storage.RangeOptions{After: []byte("d"), Reverse: true}, "c"},
		{[]byte("d"), []byte("d"), storage.RangeOptions{}, ""},
		{[]byte("f"), []byte("a"), storage.RangeOptions{}, ""},
		{[]byte("f"), []byte("a"), storage.RangeOptions{Reverse: true}, ""},
		{nil, []byte{}, storage.RangeOptions{}, ""},
	} {
		got := ""
		for it, err := range tx.Range(t.Context(), c.start, c.end, c.o) {
			must(t, err)
			got += string(it.Key)
		}
		if got != c.want {
			t.Errorf("[%s, %s) %+v: %q, want %q", c.start, c.end, c.o, got, c.want)
		}
	}
}
