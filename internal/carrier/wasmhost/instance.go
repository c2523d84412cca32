package wasmhost

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"

	"github.com/plinthkv/plinth/abi"
	answers "github.com/plinthkv/plinth/internal/abi/answer"
	"github.com/plinthkv/plinth/storage"
)

// instance is one running guest. It is not safe for concurrent use: its user must hold
// the slot. After any error of a method it is broken, and only
// close may be called.
type instance struct {
	m      *Module
	guest  api.Module
	shim   api.Module // nil if the guest is trusted, and called directly
	ctx    *callContext
	dog    *watchdog // nil if trusted
	info   storage.Info
	stated storage.Limits // of the guest's own Info

	call, get, buffer, closing api.Function // get is nil where the guest has none
	stack                      [2]uint64

	request, capacity uint32 // the request buffer, and its size
	asked             int    // with which size it was asked for
	combine           int    // the most bytes that requests of several callers may have together
}

// memoryError is what the memory allocator panics with: it has no other way.
type memoryError struct{ error }

// open makes an instance and its backend. Errors of the guest's own opener are
// passed on as they are. now is the host's clock in ms.
func (m *Module) open(ctx context.Context, config []byte, now int64) (_ *instance, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	in := &instance{m: m, ctx: &callContext{Context: context.Background(), log: m.opts.Log, rate: &m.logged}}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(memoryError)
			if !ok {
				panic(r)
			}
			err = &storage.Error{Code: storage.NoSpace, Msg: e.Error()}
		}
		if err != nil {
			in.close()
		}
	}()
	if err := in.instantiate(); err != nil {
		return nil, err
	}
	o := abi.Open{Name: m.opts.Name, Config: config, Minor: abi.Minor, MaxFrame: uint32(m.opts.MaxFrame),
		Memory: m.opts.Memory, Now: now}
	rand.Read(o.Incarnation[:])
	message := abi.AppendOpen(nil, &o)
	defer clear(message) // the configuration is in it
	if err := in.put(message); err != nil {
		return nil, err
	}
	answer, err := in.once("plinth_open", in.guest.ExportedFunction(abi.ExportOpen), uint64(len(message)))
	if err != nil {
		return nil, err
	}
	if err := abi.DecodeInfo(answer, &in.info); err != nil {
		return nil, in.garbage("plinth_open returned no Info: %v", err)
	}
	if err := answers.Info(&in.info); err != nil {
		return nil, in.garbage("plinth_open: %v", err)
	}
	in.info.Name = strings.Clone(in.info.Name)
	in.info.Version = strings.Clone(in.info.Version)
	in.stated = in.info.Limits
	frame := m.message() - frameReserve
	in.info.Limits = in.info.Limits.Tighten(storage.Limits{Key: frame / 4, Value: frame / 2, WriteBytes: frame, GetKeys: abi.MaxElements, Ops: abi.MaxElements})
	in.combine = min(maxBytes, in.info.Limits.WriteBytes)
	return in, ctx.Err()
}

// frameReserve is what the head, the header and the wrapping of a message's
// parts may take of a frame.
const frameReserve = 16 << 10

// message returns the maximum size of a request to a guest without limits of its own, and
// of the answers of one call, in bytes: a frame, or the memory that the guest has left for
// messages.
func (m *Module) message() int {
	return int(min(uint64(m.opts.MaxFrame), max(m.opts.Memory/memoryShare, minMessage)))
}

const (
	memoryShare = 4
	minMessage  = 256 << 10
)

func (in *instance) instantiate() error {
	m := in.m
	ctx, cancel := in.bounded()
	defer cancel()
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions().
		WithRandSource(rand.Reader).WithSysWalltime().WithSysNanotime().
		WithStdout(&output{ctx: in.ctx, level: slog.LevelInfo}).WithStderr(&output{ctx: in.ctx, level: slog.LevelWarn})
	for k, v := range m.opts.Env {
		config = config.WithEnv(k, v.Reveal())
	}
	guest, err := m.runtime.InstantiateModule(withReservedMemory(ctx, m.opts.Memory), m.compiled, config)
	if err != nil {
		return in.trapped("the start of the module", openBudget, err)
	}
	in.guest = guest
	if init := guest.ExportedFunction("_initialize"); init != nil {
		if _, err := init.Call(ctx); err != nil {
			return in.trapped("_initialize", openBudget, err)
		}
	}
	from := guest
	if !m.opts.Trusted {
		kind := withoutGet
		if m.hasGet {
			kind = withGet
		}
		shimCtx := experimental.WithImportResolver(context.Background(), func(string) api.Module { return guest })
		in.shim, err = m.runtime.InstantiateModule(shimCtx, m.shims[kind], wazero.NewModuleConfig().WithName(""))
		if err != nil {
			return fmt.Errorf("shim: %w", err)
		}
		from = in.shim
		in.dog = newWatchdog(m.opts.Call, func() { in.shim.CloseWithExitCode(context.Background(), sys.ExitCodeDeadlineExceeded) })
	}
	in.call, in.buffer = from.ExportedFunction(abi.ExportCall), from.ExportedFunction(abi.ExportBuffer)
	if m.hasGet {
		in.get = from.ExportedFunction(abi.ExportGet)
	}
	in.closing = guest.ExportedFunction(abi.ExportClose)
	return nil
}

// openBudget limits what starting may take, as a multiple of a call.
const openBudget = 5

// bounded returns the context of the calls that happen once: starting and closing.
// They are interrupted by the context itself.
func (in *instance) bounded() (*callContext, context.CancelFunc) {
	in.ctx.begins()
	if in.m.opts.Trusted {
		return in.ctx, func() {}
	}
	ctx, cancel := context.WithTimeout(context.Background(), openBudget*in.m.opts.Call)
	return &callContext{Context: ctx, log: in.ctx.log, rate: in.ctx.rate}, cancel
}

// once calls a function that is called once in an instance's life.
func (in *instance) once(what string, f api.Function, arg ...uint64) ([]byte, error) {
	ctx, cancel := in.bounded()
	defer cancel()
	result, err := f.Call(ctx, arg...)
	if err != nil {
		return nil, in.trapped(what, openBudget, err)
	}
	return in.answer(what, result[0])
}

// put writes a request into the guest's buffer.
func (in *instance) put(request []byte) error {
	view, err := in.room(len(request))
	copy(view, request)
	return err
}

// room returns the guest's request buffer, n bytes of it. It is a view of memory that
// the next call into the guest may move.
func (in *instance) room(n int) ([]byte, error) {
	if uint32(n) > in.capacity || in.asked > keptBuffer && n <= keptBuffer || in.capacity == 0 {
		in.stack[0] = uint64(uint32(n))
		in.ctx.begins()
		if err := in.guarded(in.buffer, 1, 1); err != nil {
			return nil, in.trapped("plinth_buffer", 1, err)
		}
		ptr, size, isErr := abi.UnpackResult(in.stack[0])
		if isErr || size < uint32(n) {
			return nil, in.garbage("plinth_buffer returned no buffer of %d bytes", n)
		}
		in.request, in.capacity, in.asked = ptr, size, n
	}
	view, ok := in.guest.Memory().Read(in.request, uint32(n))
	if !ok {
		return nil, in.garbage("the request buffer lies outside of the memory")
	}
	return view, nil
}

// keptBuffer is the most that a buffer may have been asked for with and still be
// used again for smaller requests: after a larger one the guest is asked anew, so
// that it may let the memory go. One that always gives the same is asked once.
const keptBuffer = 1 << 20

// guarded calls f, on params and results in the stack, for at most frames
// requests' time.
func (in *instance) guarded(f api.Function, slots, frames int) error {
	if in.dog == nil {
		return f.CallWithStack(in.ctx, in.stack[:slots])
	}
	in.dog.enter(frames)
	err := f.CallWithStack(in.ctx, in.stack[:slots])
	if in.dog.leave() && err == nil {
		err = sys.NewExitError(sys.ExitCodeDeadlineExceeded)
	}
	return err
}

// answer returns the view that a result points to, or the guest's error.
func (in *instance) answer(what string, result uint64) ([]byte, error) {
	ptr, n, isErr := abi.UnpackResult(result)
	if isErr && ptr == 0 {
		return nil, &storage.Error{Code: codeOf(n), Msg: fmt.Sprintf("%s returned the bare code %d", what, n)}
	}
	if int64(n) > int64(in.m.opts.MaxFrame) {
		return nil, in.garbage("%s returned %d bytes, max_frame is %d", what, n, in.m.opts.MaxFrame)
	}
	view, ok := in.guest.Memory().Read(ptr, n)
	if !ok {
		return nil, in.garbage("%s returned bytes outside of its memory", what)
	}
	if isErr {
		return nil, answers.Clean(abi.DecodeError(view))
	}
	return view, nil
}

func codeOf(n uint32) storage.Code {
	if c := storage.Code(min(n, 255)); c.Known() && c != storage.OK {
		return c
	}
	return storage.Internal
}

// trapped says what ended a call that did not return, and was given so many times
// the budget of a request.
func (in *instance) trapped(what string, times int, err error) error {
	var exit *sys.ExitError
	reason := firstLine(err.Error())
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == sys.ExitCodeDeadlineExceeded:
		reason = fmt.Sprintf("exceeded limits.call (%s) and was interrupted", time.Duration(times)*in.m.opts.Call)
	case errors.As(err, &exit):
		reason = fmt.Sprintf("the guest exited with code %d", exit.ExitCode())
	}
	reason += in.ctx.lastWords
	if in.m.opts.Stacks {
		reason += in.m.stack(err, in.shim != nil && times == 1)
	}
	return &storage.Error{Code: storage.Unavailable, Msg: what + ": " + reason}
}

func (in *instance) garbage(format string, args ...any) error {
	return &storage.Error{Code: storage.Unavailable, Msg: "the plugin broke the ABI: " + fmt.Sprintf(format, args...)}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.ToValidUTF8(line[:min(len(line), 300)], "")
}

// shut has the guest flush, and closes it.
func (in *instance) shut() error {
	_, err := in.once("plinth_close", in.closing)
	return errors.Join(err, in.close())
}

// close releases what the instance holds; the guest is not asked.
func (in *instance) close() error {
	if in.dog != nil {
		in.dog.stop()
	}
	var errs []error
	for _, c := range []io.Closer{closer{in.shim}, closer{in.guest}} {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

type closer struct{ m api.Module }

func (c closer) Close() error {
	if c.m == nil {
		return nil
	}
	return c.m.Close(context.Background())
}
