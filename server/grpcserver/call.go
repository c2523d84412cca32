package grpcserver

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"math"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/storage"
)

// call holds one call to one store. Calls are used again, with the memory of their
// messages.
type call struct {
	s       *Server
	stream  grpc.ServerStream
	ctx     context.Context
	caller  *caller // nil if unknown
	account *budget.Account
	slot    *slot  // once the message is there
	from    *slots // whose slot that is
	store   *storage.Store
	name    string        // of the store
	offset  time.Duration // the server's clock minus the caller's

	getRequest     abigrpc.GetRequest
	item           abigrpc.Item
	getManyRequest abigrpc.GetManyRequest
	items          abigrpc.Items
	scanRequest    abigrpc.ScanRequest
	page           abigrpc.Page
	changesRequest abigrpc.ChangesRequest
	writeSet       abigrpc.WriteSet
	applied        abigrpc.ApplyResponse
}

// Nothing of a call is kept in the pool but capacity.
var calls = sync.Pool{New: func() any { return new(call) }}

// method runs f after the checks of a call: who the caller is, how many there are, which
// store is meant. The message is read after them.
func (s *Server) method(name string, f func(*call) error) grpc.StreamDesc {
	return grpc.StreamDesc{StreamName: name, Handler: func(_ any, stream grpc.ServerStream) error {
		c := calls.Get().(*call)
		c.s, c.stream, c.ctx = s, stream, stream.Context()
		err := c.guarded(name, f)
		ctx := c.ctx
		c.free()
		if err == nil {
			return nil
		}
		s.log(ctx, name, err)
		var answered *received
		if errors.As(err, &answered) {
			return answered.error
		}
		return abigrpc.ToStatus(err)
	}}
}

// guarded makes an error of a panic, which would end the process.
func (c *call) guarded(name string, f func(*call) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.s.failures.Record(c.ctx, slog.LevelError, "panic", "a call panicked", slog.String("method", name), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			err = &storage.Error{Code: storage.Internal, Unknown: name == "Apply", Msg: "internal error of the server; see its log"}
		}
	}()
	return c.run(f)
}

func (c *call) run(f func(*call) error) error {
	if err := c.s.admit(c.ctx); err != nil {
		return err
	}
	var client any
	if c.caller = callerOf(c.ctx); c.caller != nil {
		client = c.caller.client
	}
	c.account = c.s.settings.Memory.Open(client)
	defer c.account.Close()
	if err := c.account.Take(c.ctx, callBytes); err != nil {
		return err
	}
	defer func() {
		if c.slot != nil {
			c.from.give(c.slot)
		}
	}()
	if err := c.target(); err != nil {
		return err
	}
	return f(c)
}

// admit refuses callers without the token.
func (s *Server) admit(ctx context.Context) error {
	admission := s.now().gatekeeper
	if admission.Token.Len() == 0 {
		return nil
	}
	authorization, err := one(ctx, abigrpc.MetaAuthorization)
	if err == nil && !admission.Admits(authorization) {
		if p, ok := peer.FromContext(ctx); ok && authorization != "" {
			s.guard.Failed(ctx, p.Addr.String())
		}
		err = storage.Errorf(storage.Unauthenticated, "bearer token required")
	}
	return err
}

// target finds the store and the caller's clock in the metadata.
func (c *call) target() error {
	name, err := one(c.ctx, abigrpc.MetaStore)
	if err != nil {
		return err
	}
	if name == "" && len(metadata.ValueFromIncomingContext(c.ctx, abigrpc.MetaStore)) > 0 {
		e := storage.Errorf(storage.InvalidArgument, "%s must not be empty: set a store's name, or omit it", abigrpc.MetaStore)
		e.ConfigPath = "store"
		return e
	}
	if name == "" {
		if name = c.s.now().only; name == "" {
			e := storage.Errorf(storage.InvalidArgument, "%s is required: the server has several stores", abigrpc.MetaStore)
			e.ConfigPath = "store"
			return e
		}
	}
	store, ok := c.s.now().stores[name]
	if !ok {
		e := storage.Errorf(storage.InvalidArgument, "unknown store %.64q", name)
		e.ConfigPath = "store"
		return e
	}
	c.store, c.name, c.offset = store, name, 0
	now, err := number(c.ctx, abigrpc.MetaNow)
	if err == nil && now > 0 {
		c.offset = store.Now().Sub(time.UnixMilli(now)).Truncate(time.Millisecond)
	}
	return err
}

// one returns the value of a name in the metadata, or "" if there is none.
func one(ctx context.Context, name string) (string, error) {
	values := metadata.ValueFromIncomingContext(ctx, name)
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", storage.Errorf(storage.InvalidArgument, "duplicate %s: %d values", name, len(values))
}

// lastMilli is the end of the year 9999, after which there are no times.
const lastMilli = 253402300799999

// number returns a number in the metadata, or 0 if there is none.
func number(ctx context.Context, name string) (int64, error) {
	text, err := one(ctx, name)
	if err != nil || text == "" {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > lastMilli {
		return 0, storage.Errorf(storage.InvalidArgument, "%s must be a number from 1 to %d", name, int64(lastMilli))
	}
	return n, nil
}

// sameClock refuses a write whose caller is wrong about the clock: its expiries would be
// off by as much.
func (c *call) sameClock() error {
	believed, err := number(c.ctx, abigrpc.MetaClock)
	if err != nil || believed == 0 {
		return err
	}
	now := c.store.Now()
	off := now.Sub(time.UnixMilli(believed)) - c.offset
	if off.Abs() <= abigrpc.ClockTolerance {
		return nil
	}
	c.stream.SetTrailer(metadata.Pairs(abigrpc.MetaNow, strconv.FormatInt(now.UnixMilli(), 10)))
	return storage.Errorf(storage.Unavailable, "%s differs from the server's clock by %s: one of the clocks was set; nothing was applied", abigrpc.MetaClock, -off.Round(time.Millisecond))
}

// mostAhead limits how far ahead the time may be until which a write may be begun: for so
// long its refusal is remembered.
const mostAhead = time.Minute

// until returns the time, by the store's clock, after which a write must not begin, or 0 for
// none. A late write is refused, so that a delayed one cannot be applied long after its
// caller gave up.
func (c *call) until() (int64, error) {
	until, err := number(c.ctx, abigrpc.MetaUntil)
	if err != nil || until == 0 {
		return 0, err
	}
	until += c.offset.Milliseconds()
	switch now := c.store.Now().UnixMilli(); {
	case until-now > mostAhead.Milliseconds():
		return 0, storage.Errorf(storage.InvalidArgument, "%s is more than %s ahead", abigrpc.MetaUntil, mostAhead)
	case now > until:
		return 0, storage.Errorf(storage.Timeout, "the write arrived after the time in %s; nothing was applied", abigrpc.MetaUntil)
	}
	return until, nil
}

// written returns the name of a write: its own, or the ID of its write set.
func (c *call) written() (name [16]byte, err error) {
	text, err := one(c.ctx, abigrpc.MetaWrite)
	if err != nil || text == "" {
		return c.writeSet.ID, err
	}
	if n, err := hex.Decode(name[:], []byte(text[:min(len(text), 2*len(name))])); err != nil || n != len(name) || len(text) != 2*len(name) {
		return name, storage.Errorf(storage.InvalidArgument, "%s is not 32 hex digits", abigrpc.MetaWrite)
	}
	return name, nil
}

// budget returns the maximum size of the answer, in bytes.
func (c *call) budget() (int, error) {
	n, err := number(c.ctx, abigrpc.MetaBudget)
	if n == 0 {
		n = abi.DefaultMaxFrame
	}
	n = min(n, int64(c.s.config.MessageBytes), math.MaxInt32)
	if share := c.s.settings.Memory.Share(); share > 0 { // it needs twice its size, in addition to the request
		n = min(n, share*3/8)
	}
	return int(n), err
}

// unreadable has the caller to blame for a request that cannot be read.
func unreadable(err error) error {
	if e := storage.AsError(err); e != nil && e.Code == storage.Serialization {
		return storage.Errorf(storage.InvalidArgument, "invalid request: %w", err)
	}
	return err
}

// received is an error that gRPC has answered already.
type received struct{ error }

// Unwrap returns the status.
func (r *received) Unwrap() error { return r.error }

// free gives back what the call borrowed. Large slices are not kept.
func (c *call) free() {
	c.getRequest.Free()
	c.getManyRequest.Free()
	c.scanRequest.Free()
	c.changesRequest.Free()
	c.writeSet.Free()
	const keep = 64
	if cap(c.getManyRequest.Keys) > keep {
		c.getManyRequest.Keys = nil
	}
	if cap(c.writeSet.Ops) > keep || cap(c.writeSet.Checks) > keep {
		c.writeSet.Ops, c.writeSet.Checks = nil, nil
	}
	c.item.Item, c.items.Items, c.page.Page, c.scanRequest.Query, c.changesRequest.Query = storage.Item{}, nil, storage.Page{}, storage.Query{}, storage.ChangeQuery{}
	c.s, c.stream, c.ctx, c.caller, c.account, c.slot, c.from, c.store = nil, nil, nil, nil, nil, nil, nil, nil
	calls.Put(c)
}

// log logs errors that are worth a record.
func (s *Server) log(ctx context.Context, method string, err error) {
	var gone *received
	if errors.As(err, &gone) {
		s.settings.Log.DebugContext(ctx, "call ended early", "method", method, "error", err)
		return
	}
	s.failures.Failed(ctx, err, "call failed", slog.String("method", method))
}
