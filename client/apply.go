package client

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/internal/abi/answer"
	"github.com/plinthkv/plinth/storage"
)

// How long a write is repeated with its ID, at most; and how many writes with an
// ID a server is thought to do in a second, at most, which says how long one of
// so many that it remembers is safe with it.
const (
	mostRepeat   = 2 * time.Second
	writesSecond = 50_000
)

// horizon returns how long after its start a write with an ID may still begin: the server
// remembers the ID for that long, whatever others write. It is zero if the server does not
// remember IDs for long enough.
func horizon(info *storage.Info) time.Duration {
	if !info.Caps.Has(storage.CapIdempotent) {
		return 0
	}
	d := mostRepeat
	if w := info.Limits.IDWindow; w > 0 {
		d = min(d, w/2)
	}
	if n := info.Limits.IDCount; n > 0 {
		d = min(d, time.Duration(n)*time.Second/writesSecond)
	}
	if d < 10*time.Millisecond {
		return 0
	}
	return d
}

// repeatBytes limits the writes that are sent with a time after which they may not be
// begun: a larger one may take longer than that on its way.
const repeatBytes = 2 << 20

// Apply calls the server, after checks that need no server. A write that was sent and
// got no answer is repeated with its ID, if the server remembers IDs.
func (c *Client) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	if err := storage.ContextError(ctx); err != nil {
		return 0, err
	}
	if !c.calls.Enter() {
		return 0, c.error("apply", &storage.Error{Code: storage.ShuttingDown})
	}
	defer c.calls.Leave()
	info := c.info.Load()
	if err := w.Validate(info); err != nil {
		return 0, c.error("apply", storage.AsError(err))
	}
	w = w.Cut(info.Limits)
	a := write{c: c, given: w, expires: slices.ContainsFunc(w.Ops, func(o storage.Op) bool { return !o.ExpiresAt.IsZero() })}
	a.request.WriteSet = *w
	if c.config.Attempts > 1 && abigrpc.Size(&a.request) <= repeatBytes {
		if a.repeats = horizon(info); a.repeats > 0 {
			id := identity()
			if a.request.ID == [16]byte{} {
				a.request.ID = id
			} else {
				a.name = hex.EncodeToString(id[:])
			}
		}
	}
	version, err := a.run(ctx)
	if err != nil {
		return 0, c.error("apply", err)
	}
	return version, nil
}

// write is one Apply with all its attempts, which send the same bytes.
type write struct {
	c       *Client
	given   *storage.WriteSet
	expires bool             // an op has an expiry
	request abigrpc.WriteSet // by the server's clock
	repeats time.Duration    // how long it may be begun; if zero, it is not repeated once sent
	begun   bool             // an attempt was made
	start   time.Time        // of the first
	until   string           // the time, by the server's clock, after which it must not begin; optional
	name    string           // identifies all attempts to the server; by default the ID does
	sure    bool             // the clocks were compared: the server is not asked to
	maybe   *storage.Error   // the error of an attempt that may have been applied, or nil
	server  string           // the instance to which all of those were sent, or empty if unknown or several
}

func (a *write) run(ctx context.Context) (uint64, *storage.Error) {
	for n := 1; ; n++ {
		version, again, err := a.once(ctx)
		if err == nil {
			return version, nil
		}
		if !again || a.enough(n) {
			return 0, a.outcome(err)
		}
		if stop := a.c.wait(ctx, n, err); stop != nil {
			return 0, a.outcome(storage.AsError(stop))
		}
	}
}

// settling limits how many attempts are made, within the time left, to learn the outcome of
// one that may have been applied.
const settling = 16

// enough reports whether n attempts were enough.
func (a *write) enough(n int) bool {
	if a.maybe == nil {
		return n >= a.c.config.Attempts
	}
	return n >= max(settling, a.c.config.Attempts) || time.Since(a.start) >= a.repeats
}

// outcome returns the error for the caller. After an attempt that may have been applied, a
// later refusal does not mean that nothing was applied, unless the server settles it: the
// earlier attempt may still be on its way.
func (a *write) outcome(err *storage.Error) *storage.Error {
	if a.maybe == nil {
		return err
	}
	text := a.maybe.Error()
	if err != a.maybe {
		text += "; then: " + err.Error()
	}
	e := storage.Errorf(storage.OutcomeUnknown, "the write may have been applied: %s", text)
	e.Err = err // so that errors.Is finds the end of a context
	return e
}

// once makes one attempt, or more if the first only learns that the connection is gone, or
// that a clock was set.
func (a *write) once(ctx context.Context) (version uint64, again bool, _ *storage.Error) {
	if ctx.Err() != nil {
		return 0, false, storage.AsError(ctx.Err())
	}
	for range 3 {
		l, err := a.c.acquire(ctx)
		if err != nil {
			e := storage.AsError(err)
			return 0, e.Code == storage.Unavailable, e
		}
		version, sent, set, err := a.send(ctx, l)
		server := *l.server.Load()
		l.release()
		if set { // refused, for a clock was set: it goes again, by the new difference
			a.begun, a.sure = a.maybe != nil, true
			continue
		}
		if err == nil {
			return version, false, nil
		}
		if unsent(err) {
			continue
		}
		e, answered := a.c.failure(ctx, "apply", err)
		e = answer.Failure(e, true, len(a.given.Checks))
		switch {
		case answered && e.Unknown:
			return 0, false, e // the server does not know either, and has asked
		case answered && e.Code == storage.Timeout && a.maybe == nil && a.until != "":
			a.anew()
			return 0, true, e
		case answered && server != "" && server == a.server && abigrpc.Settles(e):
			a.maybe = nil // the server holds off what is still on its way
			return 0, false, e
		case answered || !sent:
			return 0, e.Code == storage.Unavailable, e
		}
		if a.maybe == nil {
			a.server = server
		} else if a.server != server {
			a.server = ""
		}
		a.maybe = e
		return 0, a.repeats > 0 && ctx.Err() == nil, e
	}
	return 0, true, &storage.Error{Code: storage.Unavailable, Msg: a.c.config.Address + ": connection lost repeatedly"}
}

// anew prepares a write again that came too late to be begun, and was the only one: it goes
// without a time by which it is too late, and then is not repeated.
func (a *write) anew() {
	a.repeats, a.until, a.name, a.request.ID = 0, "", "", a.given.ID
}

// applyStream describes a call with one message and one answer to gRPC.
func applyStream() *grpc.StreamDesc { return &grpc.StreamDesc{StreamName: "Apply"} }

// send sends the write over l and waits for the answer. sent reports whether the message
// was handed over, after which it may have reached the server. set reports that a clock
// was set since the clocks were compared: the new difference was noted, and nothing was
// applied.
func (a *write) send(ctx context.Context, l *link) (version uint64, sent, set bool, err error) {
	if a.c.config.AttemptTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.c.config.AttemptTimeout)
		defer cancel()
	}
	a.begin(l.ahead())
	md := *a.c.metadata.Load()
	if a.until != "" {
		md = metadata.Join(md, metadata.MD{abigrpc.MetaUntil: {a.until}})
		if a.name != "" {
			md[abigrpc.MetaWrite] = []string{a.name}
		}
	}
	before := a.c.settings.Clock()
	if a.expires && !a.sure {
		md = metadata.Join(md, metadata.MD{abigrpc.MetaClock: {strconv.FormatInt(max(before.Add(l.ahead()).UnixMilli(), 1), 10)}})
	}
	stream, err := l.conn.NewStream(metadata.NewOutgoingContext(ctx, md), applyStream(), abigrpc.MethodApply)
	if err != nil {
		return 0, false, false, err
	}
	if err := stream.SendMsg(&a.request); err != nil && !errors.Is(err, io.EOF) {
		return 0, true, false, err
	}
	var applied abigrpc.ApplyResponse
	if err := stream.RecvMsg(&applied); err != nil {
		return 0, true, !a.sure && l.note(stream.Trailer(), before, a.c.settings.Clock()), err
	}
	return applied.Version, true, false, nil
}

// begin fixes, once, what all attempts send: times by the server's clock, in ops of
// their own, for the caller's are borrowed.
func (a *write) begin(ahead time.Duration) {
	if a.begun {
		return
	}
	if a.begun = true; a.start.IsZero() {
		a.start = time.Now()
	}
	if a.repeats > 0 {
		a.until = strconv.FormatInt(max(a.c.settings.Clock().Add(ahead+a.repeats).UnixMilli(), 1), 10)
	}
	a.request.Ops = a.given.Ops
	if ahead == 0 {
		return
	}
	ops := make([]storage.Op, len(a.given.Ops))
	for i, o := range a.given.Ops {
		o.ExpiresAt = abigrpc.Shift(o.ExpiresAt, ahead)
		ops[i] = o
	}
	a.request.Ops = ops
}
