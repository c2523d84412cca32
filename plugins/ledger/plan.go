package ledger

import (
	"bytes"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/storage"
)

// plan describes what one Write does, before it is put into a message: at most one step for
// each key, and so in any order.
type plan struct {
	checks []storage.Check
	steps  []step
	at     map[string]int // of steps, by key
}

// step says what becomes of a key.
type step struct {
	key     []byte
	value   []byte
	expires uint64 // seconds since 1970; 0 means never
	remove  bool
	// check must hold of the key before; if its kind is 0, nothing must. version, if not
	// 0, takes its place: that of an expired record which the server still has.
	check   storage.Check
	version uint64
}

// newPlan returns the plan of a normalized write set at now, with the keys that its
// ranges hold.
func newPlan(w *storage.WriteSet, inRanges [][]byte, now time.Time) *plan {
	p := &plan{checks: w.Checks, at: map[string]int{}}
	for i := range w.Ops {
		o := &w.Ops[i]
		switch {
		case o.Kind == storage.OpDelete, o.Kind == storage.OpPut && storage.Expired(o.ExpiresAt, now):
			p.add(step{key: o.Key, remove: true})
		case o.Kind == storage.OpPut:
			p.add(step{key: o.Key, value: o.Value, expires: seconds(o.ExpiresAt)})
		}
	}
	for _, key := range inRanges {
		p.add(step{key: key, remove: true})
	}
	for _, c := range w.Checks {
		i, ok := p.at[string(c.Key)]
		if !ok { // a range deletes it, if it is there
			i = p.add(step{key: c.Key, remove: true})
		}
		if s := &p.steps[i]; stronger(c.Kind) > stronger(s.check.Kind) {
			s.check = c
		}
	}
	return p
}

func (p *plan) add(s step) int {
	if i, ok := p.at[string(s.key)]; ok {
		return i
	}
	p.steps = append(p.steps, s)
	p.at[string(s.key)] = len(p.steps) - 1
	return len(p.steps) - 1
}

// stronger orders checks on one key that all hold by how much they say.
func stronger(k storage.CheckKind) int {
	return slices.Index([]storage.CheckKind{storage.CheckPresent, storage.CheckValue, storage.CheckAbsent}, k)
}

// seconds returns an expiry as the server has it: rounded up, so that nothing ends
// before its time. 0 means never.
func seconds(at time.Time) uint64 {
	if at = storage.ClampExpiry(at); at.IsZero() {
		return 0
	}
	s := at.Unix()
	if at.Nanosecond() > 0 {
		s++
	}
	return uint64(max(s, 1))
}

// operations returns the steps as the server has them. It judges a condition at the op
// that it stands on, and sees the ops before that: the condition of a key stands on
// the first op of the key. A delete has none, and gets a put before it that has.
func (p *plan) operations() []*ledgerpb.Operation {
	ops := make([]*ledgerpb.Operation, 0, len(p.steps))
	for i := range p.steps {
		s := &p.steps[i]
		key, condition := entityKey(s.key), s.condition()
		if !s.remove {
			ops = append(ops, set(key, s.value, s.expires, condition))
			continue
		}
		if condition != nil {
			var value []byte
			if s.check.Kind == storage.CheckValue {
				value = s.check.Value
			}
			ops = append(ops, set(key, value, 0, condition))
		}
		ops = append(ops, &ledgerpb.Operation{Op: &ledgerpb.Operation_DeleteEntity{DeleteEntity: &ledgerpb.DeleteEntity{Key: key}}})
	}
	return ops
}

func set(key string, value []byte, expires uint64, c *ledgerpb.SetCondition) *ledgerpb.Operation {
	e := &ledgerpb.SetEntity{Key: key, Value: value, Condition: c}
	if expires != 0 {
		e.ExpiresAt = proto.Uint64(expires)
	}
	return &ledgerpb.Operation{Op: &ledgerpb.Operation_SetEntity{SetEntity: e}}
}

func (s *step) condition() *ledgerpb.SetCondition {
	switch {
	case s.version != 0:
		return &ledgerpb.SetCondition{Condition: &ledgerpb.SetCondition_Version{Version: s.version}}
	case s.check.Kind == storage.CheckAbsent:
		return &ledgerpb.SetCondition{Condition: &ledgerpb.SetCondition_NotExists{NotExists: true}}
	case s.check.Kind == storage.CheckPresent:
		return &ledgerpb.SetCondition{Condition: &ledgerpb.SetCondition_MustExists{MustExists: true}}
	case s.check.Kind == storage.CheckValue:
		return &ledgerpb.SetCondition{Condition: &ledgerpb.SetCondition_ValueEquals{ValueEquals: append([]byte{}, s.check.Value...)}}
	}
	return nil
}

// failing returns the first of the checks that does not hold, by what is there, or -1 if all do.
func (p *plan) failing(there map[string][]byte) int {
	return slices.IndexFunc(p.checks, func(c storage.Check) bool {
		value, ok := there[string(c.Key)]
		switch c.Kind {
		case storage.CheckAbsent:
			return ok
		case storage.CheckValue:
			return !ok || !bytes.Equal(value, c.Value)
		}
		return !ok
	})
}

// adjust makes the plan go around a record that the server still has although it has
// expired, which is what e is about.
func (p *plan) adjust(e *ledgerpb.WriteError) {
	key, _ := rawKey(e.Key)
	i, ok := p.at[string(key)]
	if !ok {
		return
	}
	s := &p.steps[i]
	if e.Code == ledgerpb.WriteErrorCode_WRITE_ERROR_CODE_KEY_EXISTS && s.check.Kind == storage.CheckAbsent {
		s.version = e.GetCurrentVersion()
		return
	}
	s.version = 0 // the record is another one by now, or gone
}
