package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/storage"
)

// Chain keeps an audit log in a store, as a [Sink]: entries that are only added, each with
// the hash of the previous one, so that [Chain.Verify] detects changed, removed and
// inserted entries. Several hosts may write to one.
//
// A writer with access to the whole store can write a whole new chain. To detect that,
// keep the hash of the head elsewhere, and pass it to Verify.
type Chain struct {
	store  *storage.Store
	prefix string
	turn   chan struct{} // of the one that adds
}

// NewChain returns the log at a prefix of a store, such as "audit/". Nothing else may be
// stored below the prefix, and the prefix must be outside of the keys of organizations: a
// list of keys reports each entry among them as an unreadable key. It panics if the store
// is nil.
func NewChain(s *storage.Store, prefix string) *Chain {
	if s == nil {
		panic("auth: NewChain requires a store")
	}
	return &Chain{store: s, prefix: prefix, turn: make(chan struct{}, 1)}
}

// Entry holds an event in a chain.
type Entry struct {
	Sequence uint64 // from 1 on
	Event
	Previous string // hash of the previous entry, in hex; empty for the first
	Hash     string // of this one
}

// stored is an entry as it is stored, but for its hash: what the hash is of.
type stored struct {
	Sequence     uint64            `json:"sequence"`
	Time         time.Time         `json:"time"`
	Actor        string            `json:"actor"`
	Action       Action            `json:"action"`
	Organization uint64            `json:"organization,string"`
	Kid          string            `json:"kid,omitempty"`
	Result       string            `json:"result"`
	Reason       string            `json:"reason,omitempty"`
	Operation    string            `json:"operation"`
	TraceID      string            `json:"trace_id,omitempty"`
	Metadata     map[string]string `json:"metadata,omitempty"`
	Previous     string            `json:"previous,omitempty"`
}

// MarshalJSON returns the entry as it is stored, with its hash.
func (e Entry) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		stored
		Hash string `json:"hash"`
	}{form(e.Sequence, &e.Event, e.Previous), e.Hash})
}

// form returns the stored form of an event.
func form(n uint64, e *Event, previous string) stored {
	return stored{n, e.Time.UTC(), e.Actor, e.Action, uint64(e.Organization), e.Kid, e.Result, e.Reason, e.Operation, e.TraceID, e.Metadata, previous}
}

// head holds the last entry, as the chain remembers it.
type head struct {
	Sequence uint64 `json:"sequence"`
	Hash     string `json:"hash"`
}

func (c *Chain) headKey() []byte          { return []byte(c.prefix + "head") }
func (c *Chain) entryKey(n uint64) []byte { return fmt.Appendf(nil, "%sentry/%020d", c.prefix, n) }

// entry returns the stored form of an event, and its hash.
func entry(n uint64, e *Event, previous string) (raw []byte, hash string, err error) {
	raw, err = json.Marshal(form(n, e, previous))
	if err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256(raw)
	return raw, hex.EncodeToString(sum[:]), nil
}

// Record adds an event, after earlier events of this host.
func (c *Chain) Record(ctx context.Context, e Event) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return storage.ContextError(ctx)
	}
	_, err := storage.RetryOnConflict(ctx, storage.DefaultBackoff(), func(ctx context.Context) (none struct{}, err error) { return none, c.add(ctx, &e) })
	return err
}

// DamagedHead rejects an event because the head of the log is missing, cannot be read, or
// is not the last entry: an entry after it would hide that. [Chain.Verify] reports the
// faults. To continue, restore the log, or start another one at another prefix.
const DamagedHead headError = "the head of the audit log is missing or damaged"

type headError string

func (e headError) Error() string { return string(e) }

// damagedHead returns the error of a head, which is also a storage.Serialization.
func (c *Chain) damagedHead(format string, args ...any) error {
	return &storage.Error{Code: storage.Serialization, Msg: fmt.Sprintf("the head of the audit log at %q ", c.prefix) + fmt.Sprintf(format, args...), Err: DamagedHead}
}

// add adds an event behind the head. A Conflict says that another host was faster.
func (c *Chain) add(ctx context.Context, e *Event) error {
	raw, last, err := c.head(ctx)
	if err != nil {
		return err
	}
	n := last.Sequence + 1
	body, hash, err := entry(n, e, last.Hash)
	if err != nil {
		return err
	}
	next, err := json.Marshal(head{n, hash})
	if err != nil {
		return err
	}
	check := storage.Absent(c.headKey())
	if raw != nil {
		check = storage.HasValue(c.headKey(), raw)
	}
	_, err = c.store.Apply(ctx, &storage.WriteSet{Checks: []storage.Check{check, storage.Absent(c.entryKey(n))},
		Ops: []storage.Op{storage.Put(c.headKey(), next), storage.Put(c.entryKey(n), body)}})
	if storage.Unknown(err) {
		if is, _ := c.store.Get(ctx, c.entryKey(n)); bytes.Equal(is, body) {
			return nil // it was added
		}
	}
	if errors.Is(err, storage.ErrConflict) && !storage.Unknown(err) && c.behind(ctx, err, raw, n) {
		if raw == nil {
			return c.damagedHead("is missing, and entry %d exists", n)
		}
		return c.damagedHead("names entry %d as the last one, and entry %d exists", last.Sequence, n)
	}
	return err
}

// behind reports whether an entry could not be added because one of its number exists,
// with the head as it was read: then no host was faster, as an entry is added with its
// head. Backends that do not name the failed check are asked again, the entry first.
func (c *Chain) behind(ctx context.Context, conflict error, raw []byte, n uint64) bool {
	if failed := storage.AsError(conflict).FailedCheck(); failed >= 0 {
		return failed == 1
	}
	if _, err := c.store.Get(ctx, c.entryKey(n)); err != nil {
		return false
	}
	now, err := c.store.Get(ctx, c.headKey())
	return err == nil && raw != nil && bytes.Equal(now, raw) || errors.Is(err, storage.ErrNotFound) && raw == nil
}

// head returns the last entry and its stored bytes, or nil if there is none yet.
func (c *Chain) head(ctx context.Context) (raw []byte, last head, err error) {
	raw, err = c.store.Get(ctx, c.headKey())
	if errors.Is(err, storage.ErrNotFound) {
		return nil, last, nil
	}
	if err == nil {
		if err = json.Unmarshal(raw, &last); err != nil {
			err = c.damagedHead("is damaged")
		}
	}
	return raw, last, err
}

// parseEntry reads an entry.
func parseEntry(raw []byte) (e Entry, err error) {
	var s stored
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return e, err
	}
	sum := sha256.Sum256(raw)
	return Entry{Sequence: s.Sequence, Previous: s.Previous, Hash: hex.EncodeToString(sum[:]),
		Event: Event{s.Time, s.Actor, s.Action, identity.OrganizationSlug(s.Organization), s.Kid, s.Result, s.Reason, s.Operation, s.TraceID, s.Metadata}}, nil
}
