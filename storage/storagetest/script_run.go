package storagetest

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// runner runs a script's steps on one backend and says what they answer, in
// words that are the same for every backend that keeps the contract: versions
// are counted from the first that came up, times from the start.
type runner struct {
	ctx      context.Context
	b        storage.Backend
	s        *storage.Store
	clock    *Clock
	start    time.Time
	unit     time.Duration
	versions []uint64 // all that came up, ascending
	salt     uint64   // of IDs: a backend that is used again may remember those of another run
	txns     [slots]*storage.Txn
}

func newRunner(ctx context.Context, b storage.Backend, clock *Clock, unit time.Duration) *runner {
	return &runner{ctx: ctx, b: b, s: storage.New(b, storage.Settings{Clock: clock.Now}), clock: clock, start: clock.Now(), unit: unit}
}

// do runs one step, but for the clock, and returns its result.
func (r *runner) do(s step) string {
	if s.kind >= stepBegin {
		return r.inTxn(s)
	}
	switch s.kind {
	case stepGet:
		it, err := r.b.Get(r.ctx, []byte(s.key))
		if err != nil {
			return r.error(err)
		}
		it.Key = []byte(s.key)
		return r.items(it)
	case stepGetMany:
		keys := make([][]byte, len(s.keys))
		for i, k := range s.keys {
			keys[i] = []byte(k)
		}
		items, err := r.b.GetMany(r.ctx, keys)
		if err != nil {
			return r.error(err)
		}
		return r.items(items...)
	case stepScan:
		return r.scan(s.query)
	case stepApply:
		version, err := r.b.Apply(r.ctx, r.writeSet(s))
		if err != nil {
			return r.error(err)
		}
		return r.version(version)
	case stepTouch:
		if !s.ttl.set {
			return r.error(errOf(r.s.TouchUntil(r.ctx, []byte(s.key), time.Time{})))
		}
		return r.error(errOf(r.s.Touch(r.ctx, []byte(s.key), s.ttl.duration(r.unit))))
	}
	return ""
}

func (r *runner) inTxn(s step) string {
	if s.kind == stepBegin {
		r.txns[s.slot] = r.s.Begin(s.level)
		return ""
	}
	tx := r.txns[s.slot]
	if tx == nil {
		return "none is open"
	}
	key := []byte(s.key)
	switch s.kind {
	case stepTxnGet:
		v, err := tx.Get(r.ctx, key)
		return quote(v) + " " + r.error(err)
	case stepTxnSet:
		if s.ttl.set {
			return r.error(errOf(tx.Put(r.ctx, key, []byte(s.value), storage.WithTTL(s.ttl.duration(r.unit)))))
		}
		return r.error(tx.Set(r.ctx, key, []byte(s.value)))
	case stepTxnDelete:
		return r.error(tx.Delete(r.ctx, key))
	case stepTxnCAS:
		return r.error(errOf(tx.Put(r.ctx, key, []byte(s.value), r.expected(s.check[0]))))
	case stepTxnCompareDelete:
		return r.error(errOf(tx.Remove(r.ctx, key, r.expected(s.check[0]))))
	case stepTxnClear:
		return r.error(errOf(tx.ClearRange(r.ctx, s.query.Start, s.query.End)))
	case stepTxnRange:
		var items []storage.Item
		o := storage.RangeOptions{Limit: s.query.Limit, Reverse: s.query.Reverse, KeysOnly: s.query.KeysOnly, PageItems: 3}
		for it, err := range tx.Range(r.ctx, s.query.Start, s.query.End, o) {
			if err != nil {
				return r.items(items...) + r.error(err)
			}
			items = append(items, it)
		}
		return r.items(items...)
	case stepCommit:
		return r.error(errOf(tx.Commit(r.ctx)))
	}
	tx.Rollback()
	return ""
}

// scan walks over all pages of q: how many there are is each backend's own.
func (r *runner) scan(q storage.Query) string {
	var items []storage.Item
	first := ""
	for want := q.Limit; ; {
		page, err := r.b.Scan(r.ctx, q)
		if err != nil {
			return r.items(items...) + r.error(err)
		}
		if first == "" {
			first = r.version(page.Version)
		}
		items = append(items, page.Items...)
		if page.Next == nil || want > 0 && len(items) >= want {
			return first + ": " + r.items(items...)
		}
		if q.Reverse {
			q.End = page.Next
		} else {
			q.Start = page.Next
		}
		if want > 0 {
			q.Limit = want - len(items)
		}
	}
}

func (r *runner) writeSet(s step) *storage.WriteSet {
	w := &storage.WriteSet{}
	if s.id != 0 {
		w.ID[0] = s.id
		binary.BigEndian.PutUint64(w.ID[8:], r.salt)
	}
	for _, c := range s.check {
		check := storage.Check{Kind: c.kind, Key: []byte(c.key), End: c.end, Value: []byte(c.value)}
		if c.kind == storage.CheckVersion || c.kind == storage.CheckRange {
			check.Version = r.ago(c.ago)
		}
		w.Checks = append(w.Checks, check)
	}
	for _, o := range s.ops {
		op := storage.Op{Kind: o.kind, Key: []byte(o.key)}
		switch o.kind {
		case storage.OpPut:
			op.Value, op.ExpiresAt = []byte(o.value), o.ttl.until(r.clock.Now(), r.unit)
			if s.id != 0 && o.ttl.set { // a repeat has to be the same
				op.ExpiresAt = o.ttl.until(r.start.Add(24*time.Hour), r.unit)
			}
		case storage.OpDeleteRange:
			op.End = o.end
		}
		w.Ops = append(w.Ops, op)
	}
	return w
}

func (r *runner) expected(c scriptCheck) storage.Condition {
	switch c.kind {
	case storage.CheckAbsent:
		return storage.IfAbsent()
	case storage.CheckPresent:
		return storage.IfPresent()
	case storage.CheckValue:
		return storage.IfValue([]byte(c.value))
	}
	return storage.IfVersion(r.ago(c.ago))
}

// ago returns the version of n changes ago; 1, which no backend has, beyond the first.
func (r *runner) ago(n int) uint64 {
	if i := len(r.versions) - 1 - n; i >= 0 {
		return max(r.versions[i], 1)
	}
	return 1
}

// version returns the place of v among those that came up so far.
func (r *runner) version(v uint64) string {
	i, known := slices.BinarySearch(r.versions, v)
	if known {
		return fmt.Sprint("v", i)
	}
	// The newest is the usual case; a transaction's version comes up later.
	r.versions = slices.Insert(r.versions, i, v)
	return fmt.Sprintf("v%d of %d", i, len(r.versions))
}

func (r *runner) items(items ...storage.Item) string {
	var b strings.Builder
	for _, it := range items {
		fmt.Fprintf(&b, "%q=%s", it.Key, quote(it.Value))
		if it.Value == nil {
			b.WriteString("(nil)")
		}
		if it.Version != 0 {
			b.WriteString("@" + r.version(it.Version))
		}
		if !it.ExpiresAt.IsZero() {
			fmt.Fprintf(&b, " until +%s", it.ExpiresAt.Sub(r.start))
		}
		b.WriteString("; ")
	}
	return b.String()
}

// error returns the kind of err and what belongs to it, without its text.
func (r *runner) error(err error) string {
	if err == nil {
		return "ok"
	}
	e := storage.AsError(err)
	s := e.Code.Name()
	if e.Check > 0 {
		s += fmt.Sprint(", check ", e.FailedCheck())
	}
	if e.Limit.Kind != "" {
		s += fmt.Sprintf(", %s %d of %d", e.Limit.Kind, e.Limit.Actual, e.Limit.Max)
	}
	if e.Unknown {
		s += ", unknown"
	}
	return s
}

// difference runs script on a fresh backend and on the model, side by side, and
// is where they first differ; at is -1 where they do not.
func (t *T) difference(script []step) (at int, want, got string) {
	b, done := t.forScript()
	defer done()
	unit := t.step()
	t.clock.Advance(t.clock.Now().Truncate(unit).Add(unit).Sub(t.clock.Now())) // to a whole unit
	model := newRunner(t.ctx, NewModel(t.clock.Now, b.Info()), t.clock, unit)
	real := newRunner(t.ctx, b, t.clock, unit)
	t.scripts++
	model.salt, real.salt = t.scripts<<32|t.number, t.scripts<<32|t.number
	for i, s := range script {
		if s.kind == stepAdvance {
			t.clock.Advance(time.Duration(s.units) * unit)
			continue
		}
		if want, got := model.do(s), real.do(s); want != got {
			return i, want, got
		}
	}
	return -1, "", ""
}

// forScript returns an empty backend for a script, and what ends its use.
func (t *T) forScript() (b storage.Backend, done func()) {
	if t.scratch != nil && emptied(t.ctx, t.scratch) {
		return t.scratch, func() {}
	}
	b, err := t.factory.Open(t.ctx)
	if err != nil {
		t.Fatalf("the backend cannot be opened: %v", err)
	}
	if !t.factory.Reuse {
		return b, func() { b.Close(context.WithoutCancel(t.ctx)) }
	}
	t.mu.Lock()
	t.opened = append(t.opened, b)
	t.mu.Unlock()
	t.scratch = b
	return b, func() {}
}
