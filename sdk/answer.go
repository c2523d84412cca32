package sdk

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// AnswerReserve bounds an answer frame without data, an Error or a Health message, in
// bytes. If less is left of a budget, a carrier's guest side leaves the next request for
// another call.
const AnswerReserve = 64 << 10

// Answerer turns request frames into calls of a backend: the plugin's half of
// every carrier that speaks frames. It is not safe for concurrent use.
type Answerer struct {
	b       storage.Backend
	encoded Encoded // nil if b is none
	ctx     callContext
	keys    [][]byte
	write   storage.WriteSet
}

// NewAnswerer returns an Answerer that calls b.
func NewAnswerer(b storage.Backend) *Answerer {
	a := &Answerer{b: b, ctx: callContext{Context: context.Background()}}
	a.encoded, _ = b.(Encoded)
	return a
}

// Answer appends the answer to one request to dst: a frame with the request's id, of at
// most budget bytes. A panic of the backend passes through it.
func (a *Answerer) Answer(dst []byte, f abi.Frame, budget int) []byte {
	return a.AnswerIn(context.Background(), dst, f, budget)
}

// AnswerIn answers a request like Answer, for a carrier that can end a call: the backend's
// context ends with ctx. The deadline comes from the request.
func (a *Answerer) AnswerIn(ctx context.Context, dst []byte, f abi.Frame, budget int) []byte {
	a.ctx.Context = ctx
	var h abi.Header
	dst = a.AnswerRead(dst, f, &h, h.Decode(f.Header), budget)
	a.ctx.Context = context.Background()
	return dst
}

// AnswerRead answers a request like Answer, for a carrier that has already decoded the
// header into h with the error err.
func (a *Answerer) AnswerRead(dst []byte, f abi.Frame, h *abi.Header, err error, budget int) []byte {
	start := len(dst)
	if abi.Op(f.Kind) == abi.OpApply && err == nil { // hot, and the shortest way to it
		a.ctx.set(h)
		version, err := a.apply(f.Message)
		a.ctx.forgetTrace()
		if err != nil {
			return AppendError(dst, f.ID, err)
		}
		dst, _ = abi.EndFrame(abi.AppendVersion(abi.BeginFrame(dst, f.ID, uint8(storage.OK), nil), version), start)
		return dst
	}
	dst = abi.BeginFrame(dst, f.ID, uint8(storage.OK), nil)
	head := len(dst)
	if err == nil {
		a.ctx.set(h)
		dst, err = a.message(dst, f, budget-(head-start))
		a.ctx.forgetTrace()
	}
	if err == nil && len(dst)-start > budget {
		err = storage.LimitError(storage.RangeLimit, "answer bytes", int64(budget), int64(len(dst)-start))
	}
	if err != nil {
		return AppendError(dst[:start], f.ID, err)
	}
	dst, _ = abi.EndFrame(dst, start) // a budget is far below what a frame can be
	return dst
}

// AppendError appends the answer to request id that carries err.
func AppendError(dst []byte, id uint32, err error) []byte {
	start := len(dst)
	var plain storage.Error
	e := &plain
	if c, ok := err.(storage.Code); ok { // as of an absent key: without an allocation
		e.Code = c
	} else {
		e = storage.AsError(err)
	}
	dst = abi.BeginFrame(dst, id, uint8(e.Code), nil)
	dst, _ = abi.EndFrame(abi.AppendError(dst, e), start) // its texts are cut
	return dst
}

// Get appends the item at key to dst as a message without the key. The request has no
// header, and so no deadline and no trace.
func (a *Answerer) Get(dst, key []byte) ([]byte, error) {
	a.ctx.deadline = time.Time{} // no trace is left from the request before
	return a.get(dst, key)
}

// Traceparent returns the traceparent of the current request in W3C's form, or nothing if
// there is none. The result is a view.
func (a *Answerer) Traceparent() []byte { return a.ctx.traceparent }

func (a *Answerer) get(dst, key []byte) ([]byte, error) {
	if a.encoded != nil {
		return a.encoded.AppendGet(&a.ctx, dst, key)
	}
	it, err := a.b.Get(&a.ctx, key)
	if err != nil {
		return dst, err
	}
	it.Key = nil
	return abi.AppendItem(dst, &it), nil
}

// message appends the message of the answer to dst.
func (a *Answerer) message(dst []byte, f abi.Frame, budget int) ([]byte, error) {
	switch abi.Op(f.Kind) {
	case abi.OpGet:
		key, err := abi.DecodeGet(f.Message)
		if err != nil {
			return dst, err
		}
		return a.get(dst, key)
	case abi.OpGetMany:
		return a.getMany(dst, f.Message, budget)
	case abi.OpScan:
		return a.scan(dst, f.Message, budget)
	case abi.OpChanges:
		return a.changes(dst, f.Message, budget)
	case abi.OpHealth:
		probe, err := abi.DecodeProbe(f.Message)
		if err != nil {
			return dst, err
		}
		if probe < storage.Liveness || probe > storage.Startup {
			return dst, storage.Errorf(storage.InvalidArgument, "unknown probe %d", probe)
		}
		health, err := a.b.Health(&a.ctx, probe)
		if err != nil {
			return dst, err
		}
		cutHealth(&health)
		return abi.AppendHealth(dst, &health), nil
	}
	return dst, storage.Errorf(storage.Unsupported, "unknown op %d", f.Kind)
}

func (a *Answerer) apply(message []byte) (version uint64, err error) {
	if err := abi.DecodeWriteSet(message, &a.write); err != nil {
		return 0, err
	}
	return a.b.Apply(&a.ctx, &a.write)
}

// What a Health may say, in bytes: together far less than AnswerReserve.
const (
	maxReason  = 4 << 10
	maxDetails = 32 << 10
)

// cutHealth leaves out what would be too much, details in the order of their names.
func cutHealth(h *storage.Health) {
	if len(h.Reason) > maxReason {
		h.Reason = strings.ToValidUTF8(h.Reason[:maxReason], "")
	}
	kept, size := map[string]string{}, 0
	for _, name := range slices.Sorted(maps.Keys(h.Details)) {
		if size += len(name) + len(h.Details[name]) + 16; size > maxDetails {
			break
		}
		kept[name] = h.Details[name]
	}
	if len(kept) < len(h.Details) {
		h.Details = kept
	}
}

// getMany asks a backend for each key once: what repeats is written as often as it
// was asked for, which is counted before it is.
func (a *Answerer) getMany(dst, message []byte, budget int) ([]byte, error) {
	keys, err := abi.DecodeGetMany(message, a.keys[:0])
	if err != nil {
		return dst, err
	}
	a.keys = keys
	if a.encoded != nil {
		return a.encoded.AppendMany(&a.ctx, dst, keys, budget)
	}
	distinct, at := keys, map[string]int{} // where in distinct a key is
	for i, key := range keys {
		if _, repeats := at[string(key)]; !repeats {
			at[string(key)] = len(at)
		} else {
			distinct = unique(slices.Clone(keys[:i]), keys[i+1:], at)
			break
		}
	}
	if len(distinct) < len(keys) { // the backend sees too few of them to refuse
		if err := a.b.Info().Limits.CheckGetKeys(len(keys)); err != nil {
			return dst, err
		}
	}
	items, err := a.b.GetMany(&a.ctx, distinct)
	if err != nil {
		return dst, err
	}
	if len(distinct) < len(keys) {
		items = repeated(items, keys, distinct, at)
	}
	size := 0
	for i := range items {
		size += abi.ItemSize(&items[i])
	}
	if size > budget {
		return dst, storage.LimitError(storage.RangeLimit, "answer bytes", int64(budget), int64(size))
	}
	return abi.AppendItems(slices.Grow(dst, size), items), nil
}

// unique appends those of keys that are not in at, and says there where they are.
func unique(distinct, keys [][]byte, at map[string]int) [][]byte {
	for _, key := range keys {
		if _, repeats := at[string(key)]; !repeats {
			at[string(key)] = len(distinct)
			distinct = append(distinct, key)
		}
	}
	return distinct
}

// repeated returns items, of distinct keys, for all keys. Repeats share their bytes.
func repeated(items []storage.Item, keys, distinct [][]byte, at map[string]int) []storage.Item {
	found := make([]*storage.Item, len(distinct))
	for i, key := range distinct {
		if len(items) > 0 && bytes.Equal(items[0].Key, key) {
			found[i], items = &items[0], items[1:]
		}
	}
	all := make([]storage.Item, 0, len(keys))
	for _, key := range keys {
		if it := found[at[string(key)]]; it != nil {
			all = append(all, *it)
		}
	}
	return all
}

// What a page has, in bytes and items, where the query does not say; and what an
// item may take of an answer in addition to its key and value.
const (
	usualBytes = 1 << 20
	usualItems = 1000
	itemExtra  = 64
)

// scan keeps the page within the budget: half of it is for keys and values, the
// other for what they are wrapped in.
func (a *Answerer) scan(dst, message []byte, budget int) ([]byte, error) {
	var q storage.Query
	if err := abi.DecodeQuery(message, &q); err != nil {
		return dst, err
	}
	most := max(budget/2, 1)
	if q.MaxBytes == 0 {
		q.MaxBytes = usualBytes
	}
	q.MaxBytes = min(q.MaxBytes, most)
	if items := max(most/itemExtra, 1); q.Limit > items || q.Limit == 0 && usualItems > items {
		q.Limit = items
	}
	if a.encoded != nil {
		return a.encoded.AppendScan(&a.ctx, dst, q, budget)
	}
	page, err := a.b.Scan(&a.ctx, q)
	if err != nil {
		return dst, err
	}
	if size := abi.PageSize(&page); size > budget {
		return dst, storage.LimitError(storage.RangeLimit, "answer bytes", int64(budget), int64(size))
	}
	return abi.AppendPage(dst, &page), nil
}

// changes keeps the page within the budget, except for a single larger write set. A call that
// cannot be canceled does not wait, because others wait for it.
func (a *Answerer) changes(dst, message []byte, budget int) ([]byte, error) {
	var q storage.ChangeQuery
	if err := abi.DecodeChangeQuery(message, &q); err != nil {
		return dst, err
	}
	most := max(budget/2, 1)
	if q.MaxBytes == 0 {
		q.MaxBytes = usualBytes
	}
	q.MaxBytes = min(q.MaxBytes, most)
	if changes := max(most/itemExtra, 1); q.Limit > changes || q.Limit == 0 && usualItems > changes {
		q.Limit = changes
	}
	if q.Wait = min(q.Wait, storage.MostWait); a.ctx.Done() == nil {
		q.Wait = 0
	}
	page, err := a.b.Changes(&a.ctx, q)
	if err != nil {
		return dst, err
	}
	if size := abi.ChangePageSize(&page); size > budget {
		return dst, storage.LimitError(storage.RangeLimit, "answer bytes", int64(budget), int64(size))
	}
	return abi.AppendChangePage(dst, &page), nil
}

// PanicError returns the error for a panic of a backend: Internal with its text. Whether
// a current write was applied is unknown.
func PanicError(v any) *storage.Error {
	return &storage.Error{Code: storage.Internal, Msg: fmt.Sprintf("panic: %v", v), Unknown: true}
}

// callContext is the context of the call that runs: its deadline and its trace.
// It is used again for the next call, so that a call allocates none.
type callContext struct {
	context.Context
	deadline                time.Time // zero if none
	traceparent, tracestate []byte    // views of the request
}

// traceKey is the key for which a callContext returns itself.
type traceKey struct{}

// Value returns c itself for traceKey, and otherwise the value of its parent.
func (c *callContext) Value(key any) any {
	if key == (traceKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// TraceContext returns the trace context of the call that ctx belongs to, in W3C's form,
// for a backend that passes it on to calls of its own. Both are empty if the call is not
// traced.
func TraceContext(ctx context.Context) (traceparent, tracestate string) {
	if c, ok := ctx.Value(traceKey{}).(*callContext); ok {
		return string(c.traceparent), string(c.tracestate)
	}
	return "", ""
}

// forgetTrace is for what is done between requests, and is part of none.
func (c *callContext) forgetTrace() {
	if c.traceparent != nil || c.tracestate != nil {
		c.traceparent, c.tracestate = nil, nil
	}
}

func (c *callContext) set(h *abi.Header) {
	c.traceparent, c.tracestate = h.Traceparent, h.Tracestate
	left := h.Deadline
	if c.deadline = (time.Time{}); left > 0 {
		c.deadline = time.Now().Add(time.Duration(min(left, int64(time.Hour/time.Millisecond)*24*365)) * time.Millisecond)
	}
}

// Deadline returns the deadline of the call, if it has one.
func (c *callContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }
