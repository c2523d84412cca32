package storagetest

import (
	"fmt"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/plinthkv/plinth/storage"
)

// A script is a list of steps that is run on two backends, one of them the
// model. The answers of a run give versions and times in steps too: versions as how
// many changes ago, times in units of the backend.

// stepKind is what a step does.
type stepKind uint8

const (
	stepGet stepKind = iota
	stepGetMany
	stepScan
	stepApply
	stepTouch
	stepAdvance
	stepBegin // what follows is about the transaction in a slot
	stepTxnGet
	stepTxnSet
	stepTxnDelete
	stepTxnCAS
	stepTxnCompareDelete
	stepTxnClear
	stepTxnRange
	stepCommit
	stepRollback
)

// step is one. Which fields count depends on its kind.
type step struct {
	kind  stepKind
	slot  int
	level storage.Isolation
	key   string
	keys  []string
	value string
	query storage.Query
	ops   []scriptOp
	check []scriptCheck
	id    byte // 0 means none
	ttl   ttl
	units int // that the clock goes on
}

// ttl is how long an item lives.
type ttl struct {
	set   bool
	units int // of the backend's precision; see farUnits
}

// farUnits stand for a life that ends beyond what can be counted.
const farUnits = 1 << 40

// until returns the expiry of an item that is put at now; zero means never.
func (l ttl) until(now time.Time, unit time.Duration) time.Time {
	if !l.set || l.units >= farUnits {
		return time.Time{}
	}
	return now.Add(time.Duration(l.units) * unit)
}

func (l ttl) duration(unit time.Duration) time.Duration {
	if l.units >= farUnits {
		return 1<<63 - 1
	}
	return time.Duration(l.units) * unit
}

type scriptOp struct {
	kind       storage.OpKind
	key, value string
	end        []byte
	ttl        ttl
}

type scriptCheck struct {
	kind       storage.CheckKind
	key, value string
	end        []byte
	ago        int // the version before that many changes
}

// What scripts are made of: few keys, so that they meet, and all that differ little.
var (
	scriptKeys   = []string{"", "\x00", "a", "a\x00", "a\xff", "aa", "ab", "b", "ba", "m", "mm/1", "mm/2", "mm/20", "mm0", "z", "\xfe\xff", "\xff", "\xff\xff"}
	scriptValues = []string{"", "v", "w", "\x00", strings.Repeat("long ", 40), strings.Repeat("x", 5000)}
	scriptTTLs   = []ttl{{}, {}, {}, {}, {true, 0}, {true, -1}, {true, 1}, {true, 3}, {true, 10}, {true, 60}, {true, 1000}, {true, farUnits}}
)

func anyKey() *rapid.Generator[string] { return rapid.SampledFrom(scriptKeys) }

// anyBound generates nil, empty, a key, or what is next to one.
func anyBound() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		key := []byte(anyKey().Draw(t, "key"))
		switch rapid.IntRange(0, 7).Draw(t, "bound") {
		case 0:
			return nil
		case 1:
			return storage.After(key)
		case 2:
			return storage.PrefixEnd(key)
		}
		return key
	})
}

func anyOp(info storage.Info) *rapid.Generator[scriptOp] {
	return rapid.Custom(func(t *rapid.T) scriptOp {
		o := scriptOp{kind: storage.OpPut, key: anyKey().Draw(t, "key")}
		switch rapid.IntRange(0, 9).Draw(t, "op") {
		case 7, 8:
			o.kind = storage.OpDelete
		case 9:
			o.kind, o.end = storage.OpDeleteRange, anyBound().Draw(t, "end")
		default:
			o.value = rapid.SampledFrom(scriptValues).Draw(t, "value")
			o.ttl = anyTTL(info).Draw(t, "ttl")
		}
		return o
	})
}

func anyTTL(info storage.Info) *rapid.Generator[ttl] {
	if !info.Caps.Has(storage.CapTTL) {
		return rapid.Just(ttl{})
	}
	return rapid.SampledFrom(scriptTTLs)
}

func anyCheck() *rapid.Generator[scriptCheck] {
	return rapid.Custom(func(t *rapid.T) scriptCheck {
		c := scriptCheck{key: anyKey().Draw(t, "key"), kind: storage.CheckKind(rapid.IntRange(1, 5).Draw(t, "check"))}
		switch c.kind {
		case storage.CheckValue:
			c.value = rapid.SampledFrom(scriptValues).Draw(t, "value")
		case storage.CheckRange:
			c.end = anyBound().Draw(t, "end")
			c.ago = rapid.IntRange(0, 20).Draw(t, "ago")
		case storage.CheckVersion:
			c.ago = rapid.IntRange(0, 60).Draw(t, "ago")
		}
		return c
	})
}

func anyQuery(info storage.Info) *rapid.Generator[storage.Query] {
	return rapid.Custom(func(t *rapid.T) storage.Query {
		q := storage.Query{Start: anyBound().Draw(t, "start"), End: anyBound().Draw(t, "end")}
		if rapid.IntRange(0, 2).Draw(t, "few") == 2 {
			q.Limit = rapid.IntRange(1, 8).Draw(t, "limit")
		}
		q.Reverse = info.Caps.Has(storage.CapReverse) && rapid.Bool().Draw(t, "reverse")
		q.KeysOnly = rapid.IntRange(0, 3).Draw(t, "keys only") == 3
		if rapid.IntRange(0, 3).Draw(t, "small pages") == 3 {
			q.MaxBytes = rapid.SampledFrom([]int{1, 10, 300}).Draw(t, "max bytes")
		}
		return q
	})
}

// weights is how often each kind comes, of all.
var weights = [...]int{stepGet: 12, stepGetMany: 5, stepScan: 12, stepApply: 32, stepTouch: 3, stepAdvance: 6, stepBegin: 4,
	stepTxnGet: 3, stepTxnSet: 6, stepTxnDelete: 2, stepTxnCAS: 4, stepTxnCompareDelete: 1, stepTxnClear: 1, stepTxnRange: 3, stepCommit: 5, stepRollback: 1}

// slots limits how many transactions may be open at a time.
const slots = 3

// anyStep makes the steps that make sense on a backend with info.
func anyStep(info storage.Info) *rapid.Generator[step] {
	var kinds []stepKind
	for kind, n := range weights {
		for range n {
			kinds = append(kinds, stepKind(kind))
		}
	}
	identified := info.Caps.Has(storage.CapIdempotent) && info.Limits.IDWindow == 0
	return rapid.Custom(func(t *rapid.T) step {
		s := step{kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
		if s.kind >= stepBegin {
			s.slot = rapid.IntRange(0, slots-1).Draw(t, "slot")
		}
		switch s.kind {
		case stepGet, stepTxnGet, stepTxnDelete:
			s.key = anyKey().Draw(t, "key")
		case stepGetMany:
			s.keys = rapid.SliceOfN(anyKey(), 0, 6).Draw(t, "keys")
		case stepScan, stepTxnRange:
			s.query = anyQuery(info).Draw(t, "query")
		case stepApply:
			s.ops = rapid.SliceOfN(anyOp(info), 0, 4).Draw(t, "ops")
			if rapid.IntRange(0, 2).Draw(t, "conditional") == 2 {
				s.check = rapid.SliceOfN(anyCheck(), 0, 3).Draw(t, "checks")
			}
			if identified && rapid.IntRange(0, 7).Draw(t, "identified") == 7 {
				s.id = byte(rapid.IntRange(1, 8).Draw(t, "id"))
			}
		case stepTouch:
			s.key, s.ttl = anyKey().Draw(t, "key"), anyTTL(info).Draw(t, "ttl")
		case stepAdvance:
			s.units = rapid.SampledFrom([]int{0, 1, 2, 5, 30, 500}).Draw(t, "units")
		case stepBegin:
			s.level = storage.Isolation(rapid.IntRange(0, 1).Draw(t, "isolation"))
		case stepTxnSet:
			s.key, s.value = anyKey().Draw(t, "key"), rapid.SampledFrom(scriptValues).Draw(t, "value")
			s.ttl = anyTTL(info).Draw(t, "ttl")
		case stepTxnCAS, stepTxnCompareDelete:
			s.key, s.value = anyKey().Draw(t, "key"), rapid.SampledFrom(scriptValues).Draw(t, "value")
			s.check = []scriptCheck{anyCheck().Draw(t, "expected")}
		case stepTxnClear:
			s.query = storage.Query{Start: anyBound().Draw(t, "start"), End: anyBound().Draw(t, "end")}
		}
		return s
	})
}

// String returns the step as a failing script is printed.
func (s step) String() string {
	slot := fmt.Sprintf("txn %d: ", s.slot)
	switch s.kind {
	case stepGet:
		return fmt.Sprintf("get %q", s.key)
	case stepGetMany:
		return fmt.Sprintf("get many %q", s.keys)
	case stepScan:
		return "scan " + showQuery(s.query)
	case stepApply:
		return "apply " + s.showApply()
	case stepTouch:
		return fmt.Sprintf("touch %q%s", s.key, s.ttl)
	case stepAdvance:
		return fmt.Sprintf("advance the clock by %d units", s.units)
	case stepBegin:
		return slot + [...]string{"begin, read committed", "begin, serializable"}[s.level]
	case stepTxnGet:
		return slot + fmt.Sprintf("get %q", s.key)
	case stepTxnSet:
		return slot + fmt.Sprintf("set %q=%s%s", s.key, quote([]byte(s.value)), s.ttl)
	case stepTxnDelete:
		return slot + fmt.Sprintf("delete %q", s.key)
	case stepTxnCAS:
		return slot + fmt.Sprintf("set %q=%s, %s", s.key, quote([]byte(s.value)), s.check[0].expectation())
	case stepTxnCompareDelete:
		return slot + fmt.Sprintf("delete %q, %s", s.key, s.check[0].expectation())
	case stepTxnClear:
		return slot + "clear " + showQuery(s.query)
	case stepTxnRange:
		return slot + "range " + showQuery(s.query)
	case stepCommit:
		return slot + "commit"
	}
	return slot + "rollback"
}

// GoString returns what rapid prints.
func (s step) GoString() string { return "\n\t" + s.String() }

func (s step) showApply() string {
	var b strings.Builder
	if s.id != 0 {
		fmt.Fprintf(&b, "with ID %d: ", s.id)
	}
	for _, c := range s.check {
		b.WriteString(c.String() + "; ")
	}
	for _, o := range s.ops {
		b.WriteString(o.String() + "; ")
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func (o scriptOp) String() string {
	switch o.kind {
	case storage.OpPut:
		return fmt.Sprintf("put %q=%s%s", o.key, quote([]byte(o.value)), o.ttl)
	case storage.OpDelete:
		return fmt.Sprintf("delete %q", o.key)
	}
	return "delete " + showQuery(storage.Query{Start: []byte(o.key), End: o.end})
}

func (c scriptCheck) String() string {
	switch c.kind {
	case storage.CheckRange:
		return fmt.Sprintf("if %s is as %d versions ago", showQuery(storage.Query{Start: []byte(c.key), End: c.end}), c.ago)
	}
	return fmt.Sprintf("if %q %s", c.key, c.expectation())
}

func (c scriptCheck) expectation() string {
	switch c.kind {
	case storage.CheckAbsent:
		return "is absent"
	case storage.CheckPresent:
		return "is present"
	case storage.CheckValue:
		return "is " + quote([]byte(c.value))
	}
	return fmt.Sprintf("is at the version of %d ago", c.ago)
}

func (l ttl) String() string {
	switch {
	case !l.set:
		return ""
	case l.units >= farUnits:
		return " for longer than can be counted"
	}
	return fmt.Sprintf(" for %d units", l.units)
}
