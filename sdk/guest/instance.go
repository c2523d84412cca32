package guest

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// keptBuffer is the largest buffer that is kept from call to call, in bytes.
const keptBuffer = 1 << 20

// instance is the state of the one instance that a module is.
type instance struct {
	open    sdk.Opener
	log     func(level slog.Level, record []byte)
	backend storage.Backend
	answers *sdk.Answerer
	request []byte // what the host writes into
	out     []byte // what it reads
	now     int64  // ms; never goes back
	max     int    // bytes of the answers of one call
	broken  *storage.Error

	encoded sdk.Encoded // nil: the backend is none
	putter  sdk.Putter  // nil: the backend is none
	put     abi.Put     // the one that is done
	fixed   sdk.Fixed   // nil: the backend is none
	largest int         // bytes of a request, where it is
	paced   int64       // what it held when the collector was set last
}

// result is what an export answers: bytes that stay valid until the next call,
// or a bare code.
type result struct {
	bytes []byte
	code  uint8 // 0: none
	isErr bool
}

// buffer gives a request buffer of at least n bytes, nil for more than a fixed
// backend has room for.
func (i *instance) buffer(n int) []byte {
	if i.fixed != nil {
		if n > i.largest {
			return nil
		}
		if n > cap(i.request) { // the first that is not small; there are no others
			i.request = make([]byte, i.largest)
			i.pace()
		}
		i.request = i.request[:cap(i.request)]
		return i.request
	}
	if n > cap(i.request) || cap(i.request) > keptBuffer && n <= keptBuffer {
		i.request = make([]byte, max(n, 4096))
	}
	i.request = i.request[:cap(i.request)]
	return i.request
}

// doOpen makes the backend; n bytes of request are an Open message.
func (i *instance) doOpen(n int) (r result) {
	defer i.recovered(&r)
	var o abi.Open
	if i.backend != nil {
		return i.fail(storage.Errorf(storage.InvalidArgument, "the plugin is open already"))
	}
	if err := abi.DecodeOpen(i.request[:min(n, len(i.request))], &o); err != nil {
		return i.fail(storage.AsError(err))
	}
	if i.open == nil {
		return i.fail(storage.Errorf(storage.Internal, "the module does not call guest.Serve in an init function"))
	}
	limitMemory(int64(o.Memory))
	i.tell(o.Now)
	i.max = int(o.MaxFrame)
	b, err := i.open(context.Background(), sdk.Env{
		Name:        o.Name,
		Config:      append([]byte(nil), o.Config...),
		Now:         i.clock,
		Log:         slog.New(newHandler(i.log, i.traceparent)),
		Incarnation: o.Incarnation,
		MaxMessage:  i.max,
		Memory:      int64(o.Memory),
	})
	if err != nil {
		return i.fail(storage.AsError(err))
	}
	i.backend, i.answers = b, sdk.NewAnswerer(b)
	if i.fixed, _ = b.(sdk.Fixed); i.fixed != nil {
		i.encoded, _ = b.(sdk.Encoded) // its answers go into a buffer that has room for all
		i.putter, _ = b.(sdk.Putter)
		i.largest, i.max = limits(i.fixed, i.max)
		i.out = make([]byte, 0, i.max)
		i.pace()
	}
	info := b.Info()
	if i.fixed == nil {
		i.max = min(i.max, mostAnswer(o.Memory, &info.Limits))
	}
	i.out = abi.AppendInfo(i.out[:0], &info)
	return result{bytes: i.out}
}

// mostAnswer bounds the answers of one call to a share of the memory, in bytes: what they are
// made from, and those of the call before, may be there at the same time. An item as large as
// the backend's limits allow always fits.
func mostAnswer(memory uint64, l *storage.Limits) int {
	const share = 8
	if memory == 0 || l.Value == 0 || l.Key == 0 {
		return math.MaxInt
	}
	return int(max(memory/share, uint64(l.Key+l.Value+sdk.AnswerReserve)))
}

// limits are what a fixed backend says of its messages, as far as the host goes.
func limits(f sdk.Fixed, frame int) (request, answers int) {
	request, answers = f.Messages()
	return min(request, frame), min(answers, frame)
}

// doCall answers n bytes of request, which are frames.
func (i *instance) doCall(n int) result {
	if answer := i.quickPut(n); answer != nil {
		return result{bytes: answer}
	}
	return i.anyCall(n)
}

// quickPut asks a putter directly if the request is a usual put. Else, or if the putter does
// not do it, it returns nil, and anyCall must be asked. Like quickGet it is hot, and a panic
// ends the module.
func (i *instance) quickPut(n int) (answer []byte) {
	if i.putter == nil || i.broken != nil || n > len(i.request) || !i.put.Read(i.request[:n]) {
		return nil
	}
	if i.put.Now > i.now {
		i.now = i.put.Now
	}
	version, ok := i.putter.Put(i.put.Key, i.put.Value)
	if !ok {
		return nil
	}
	i.out = abi.AppendApplied(i.out[:0], i.put.ID, version)
	i.pace()
	return i.out
}

// anyCall returns the first frames of the n bytes of request: as many as the
// budget of the first allows, and at least one. All answers together are within that
// one budget; beside the first, they are no more than a buffer that is kept has room
// for, so that callers who are combined cannot make a module grow.
func (i *instance) anyCall(n int) (r result) {
	defer i.recovered(&r)
	if err := i.usable(); err != nil {
		return i.fail(err)
	}
	if i.fixed == nil && cap(i.out) > keptBuffer {
		i.out = nil
	}
	out, budget := i.out[:0], 0
	for rest := i.request[:min(n, len(i.request))]; len(rest) > 0; {
		f, after, err := abi.ReadFrame(rest, 0)
		if err != nil && !errors.Is(err, storage.ErrUnsupported) { // there is no going on
			return i.fail(storage.AsError(err))
		}
		var h abi.Header
		unread := h.Decode(f.Header)
		if unread == nil { // else the answer says what is wrong with it
			i.tell(h.Now)
		}
		if budget == 0 {
			if budget = i.max; h.Budget != 0 {
				budget = min(budget, int(h.Budget))
			}
		}
		start := len(out)
		if start > 0 {
			if budget = min(budget, combined); budget-start < room(f) {
				break
			}
		}
		if err != nil {
			out = sdk.AppendError(out, f.ID, err)
		} else {
			out = i.answers.AnswerRead(out, f, &h, unread, budget-start)
		}
		if start > 0 && abi.Op(f.Kind) != abi.OpApply && tooLarge(out[start:]) {
			out = out[:start] // alone, in the next call, it may fit
			break
		}
		rest = after
	}
	i.out = out
	i.pace()
	return result{bytes: out}
}

// combined is the most bytes that all answers of one call have together, but for a
// first one that alone has more.
const combined = keptBuffer

// room is what has to be left of the budget for f to be begun behind others. A scan
// that had less would answer a shorter page than it was asked for.
func room(f abi.Frame) int {
	if abi.Op(f.Kind) == abi.OpScan {
		return combined / 2
	}
	return sdk.AnswerReserve
}

// pace has the collector run when there is as much garbage as a fixed backend has
// room for beside what it holds.
func (i *instance) pace() {
	if i.fixed == nil {
		return
	}
	if held := i.fixed.Held() + int64(cap(i.request)+cap(i.out)); held != i.paced {
		i.paced = held
		limitHeap(held)
	}
}

// tooLarge reports whether an answer is the refusal of one that did not fit what
// others had left of the budget.
func tooLarge(answer []byte) bool {
	f, _, err := abi.ReadFrame(answer, 0)
	return err == nil && storage.Code(f.Kind) == storage.RangeLimit
}

// doGet is the fast path: n bytes of request are the key.
func (i *instance) doGet(n int, now int64) result {
	if message, code := i.quickGet(n, now); message != nil || code != 0 {
		return result{bytes: message, code: code}
	}
	return i.anyGet(n, now)
}

// quickGet asks an encoded backend directly. It answers the item, or the code NotFound, or
// neither: then anyGet has to be asked. It is hot, and a deferred function would take a tenth
// of its time, so a panic here is not recovered: it ends the module as any trap does.
func (i *instance) quickGet(n int, now int64) (message []byte, code uint8) {
	if i.encoded == nil || i.broken != nil || n > len(i.request) {
		return nil, 0
	}
	if now > i.now {
		i.now = now
	}
	message, err := i.encoded.AppendGet(background, i.out[:0], i.request[:n])
	if err == nil && len(message) <= i.max {
		return message, 0
	}
	if err == storage.ErrNotFound {
		return nil, uint8(storage.NotFound)
	}
	return nil, 0
}

var background = context.Background()

func (i *instance) anyGet(n int, now int64) (r result) {
	defer i.recovered(&r)
	if i.broken != nil || i.backend == nil {
		return i.fail(i.usable())
	}
	i.tell(now)
	message, err := i.answers.Get(i.out[:0], i.request[:min(n, len(i.request))])
	switch {
	case err == nil && len(message) <= i.max:
		if cap(message) <= keptBuffer || i.fixed != nil {
			i.out = message
		}
		return result{bytes: message}
	case err == storage.ErrNotFound || err != nil && errors.Is(err, storage.ErrNotFound):
		return result{code: uint8(storage.NotFound)}
	}
	return result{code: abi.CodeUseCall}
}

// doClose closes the backend.
func (i *instance) doClose() (r result) {
	defer i.recovered(&r)
	if err := i.usable(); err != nil {
		return i.fail(err)
	}
	if err := i.backend.Close(context.Background()); err != nil {
		return i.fail(storage.AsError(err))
	}
	return result{}
}

// traceparent is that of the request which is being answered; empty: none.
func (i *instance) traceparent() []byte {
	if i.answers == nil {
		return nil
	}
	return i.answers.Traceparent()
}

func (i *instance) usable() *storage.Error {
	if i.broken == nil && i.backend == nil {
		return storage.Errorf(storage.InvalidArgument, "the plugin is not open")
	}
	return i.broken
}

// recovered makes the result of a panic, after which nothing can be trusted.
func (i *instance) recovered(r *result) {
	if v := recover(); v != nil {
		i.broken = sdk.PanicError(v)
		*r = i.fail(i.broken)
	}
}

func (i *instance) fail(e *storage.Error) result {
	i.out = abi.AppendError(i.out[:0], e)
	return result{bytes: i.out, isErr: true}
}

func (i *instance) tell(now int64) { i.now = max(i.now, now) }

func (i *instance) clock() time.Time { return time.UnixMilli(i.now) }
