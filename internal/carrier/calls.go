package carrier

import (
	"context"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/answer"
	"github.com/plinthkv/plinth/storage"
)

// Message holds the argument of a call. Only the field of its op is set.
type Message struct {
	Keys    [][]byte            // of get_many
	Query   storage.Query       // of scan
	Changes storage.ChangeQuery // of changes
	Writes  *storage.WriteSet   // of apply
	Probe   storage.Probe       // of health
}

// Append appends m, for op, in the encoding of the ABI.
func (m *Message) Append(dst []byte, op abi.Op) []byte {
	switch op {
	case abi.OpGetMany:
		return abi.AppendGetMany(dst, m.Keys)
	case abi.OpScan:
		return abi.AppendQuery(dst, &m.Query)
	case abi.OpChanges:
		return abi.AppendChangeQuery(dst, &m.Changes)
	case abi.OpApply:
		return abi.AppendWriteSet(dst, m.Writes)
	case abi.OpHealth:
		return abi.AppendProbe(dst, m.Probe)
	}
	return dst
}

// Fits refuses a request frame of n bytes if it exceeds most. For a get_many, fewer keys
// may fit.
func Fits(op abi.Op, n, most int) error {
	switch {
	case n <= most:
		return nil
	case op == abi.OpGetMany:
		return storage.LimitError(storage.RangeLimit, "request frame", int64(most), int64(n))
	}
	return storage.LimitError(storage.SizeLimit, "request frame", int64(most), int64(n))
}

// Wrap returns err with the plugin of that name as its layer. An absent key has no layer.
func Wrap(name string, err error) error {
	if storage.CodeOf(err) == storage.NotFound {
		return err
	}
	e := storage.AsError(err)
	if e.Layer != "" {
		return err
	}
	own := *e
	own.Layer = "plugin " + name
	return &own
}

// Unreadable returns the error for an answer with a valid frame and an invalid message.
// The outcome of an apply is then unknown.
func Unreadable(op abi.Op, err error) error {
	e := &storage.Error{Code: storage.Internal, Op: op.String(), Msg: "invalid answer of the plugin: " + err.Error()}
	if op == abi.OpApply {
		e.Code, e.Unknown = storage.OutcomeUnknown, true
	}
	return e
}

// Admits refuses a restart with fewer capabilities than before.
func Admits(before, now storage.Caps) error {
	if now.Has(before) {
		return nil
	}
	return storage.Errorf(storage.Internal, "restarted with fewer capabilities than before, without %s", before&^now)
}

// Asked is a backend whose plugin answers messages.
type Asked interface {
	// Ask sends m to the plugin and returns its answer, which the caller owns, or the
	// backend's error, which is returned unchanged.
	Ask(ctx context.Context, op abi.Op, m Message) ([]byte, error)
	// Known returns the plugin's last Info, which is immutable.
	Known() *storage.Info
	Watched
}

// Calls has the calls of a backend whose plugin answers messages, except Get, which each
// carrier implements in its own way. The items of an answer share one copy of it.
type Calls struct {
	To Asked
	// Followers wait for changes. It must not be copied.
	Followers *Followers
}

// GetMany calls the plugin.
func (c Calls) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	limits := &c.To.Known().Limits
	if err := limits.CheckGetKeys(len(keys)); err != nil {
		return nil, c.To.Wrap(err)
	}
	keys = limits.Possible(keys)
	message, err := c.To.Ask(ctx, abi.OpGetMany, Message{Keys: keys})
	if err != nil {
		return nil, err
	}
	items, err := answer.ReadItems(message, keys)
	if err != nil {
		return nil, c.To.Wrap(Unreadable(abi.OpGetMany, err))
	}
	return items, nil
}

// Scan calls the plugin.
func (c Calls) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	if err := q.Validate(); err != nil {
		return storage.Page{}, c.To.Wrap(err)
	}
	cut := q.Cut(c.To.Known().Limits)
	message, err := c.To.Ask(ctx, abi.OpScan, Message{Query: cut})
	if err != nil {
		return storage.Page{}, err
	}
	page, err := answer.ReadPage(message, &cut)
	if err != nil {
		return page, c.To.Wrap(Unreadable(abi.OpScan, err))
	}
	q.Resume(&page)
	return page, nil
}

// Changes asks the plugin, and waits in its place.
func (c Calls) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	info := c.To.Known()
	if err := q.Validate(); err != nil {
		return storage.ChangePage{}, c.To.Wrap(err)
	}
	page, err := c.Followers.Ask(ctx, q.Cut(info.Limits), c.changes)
	if err == nil {
		q.Resume(&page)
	}
	if err != nil && storage.CodeOf(err) == storage.Canceled {
		err = c.To.Wrap(err)
	}
	return page, err
}

// changes asks the plugin once.
func (c Calls) changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	message, err := c.To.Ask(ctx, abi.OpChanges, Message{Changes: q})
	if err != nil {
		return storage.ChangePage{}, err
	}
	page, err := answer.ReadChanges(message, &q)
	if err != nil {
		return page, c.To.Wrap(Unreadable(abi.OpChanges, err))
	}
	return page, nil
}

// Apply calls the plugin, after checks that need no plugin.
func (c Calls) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	info := c.To.Known()
	if err := w.Validate(info); err != nil {
		return 0, c.To.Wrap(err)
	}
	w = w.Cut(info.Limits)
	message, err := c.To.Ask(ctx, abi.OpApply, Message{Writes: w})
	if err != nil {
		return 0, answer.Refused(err, w)
	}
	c.Followers.Changed()
	version, err := abi.DecodeVersion(message)
	if err != nil {
		return 0, c.To.Wrap(Unreadable(abi.OpApply, err))
	}
	return version, nil
}
