package guest

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// opened is an instance as a host leaves it after plinth_open.
func opened(t testing.TB, open sdk.Opener, edit func(*abi.Open)) *instance {
	t.Helper()
	i := &instance{open: open, log: func(slog.Level, []byte) {}}
	if r := openWith(i, edit); r.isErr {
		t.Fatal(abi.DecodeError(r.bytes))
	}
	return i
}

func openWith(i *instance, edit func(*abi.Open)) result {
	o := abi.Open{Name: "test", MaxFrame: 4 << 20, Now: 1_700_000_000_000}
	if edit != nil {
		edit(&o)
	}
	return i.doOpen(i.write(abi.AppendOpen(nil, &o)))
}

// write puts a request where a host puts it.
func (i *instance) write(request []byte) int { return copy(i.buffer(len(request)), request) }

// frame is a request frame.
func frame(id uint32, op abi.Op, h *abi.Header, message []byte) []byte {
	b, err := abi.EndFrame(append(abi.BeginFrame(nil, id, uint8(op), h), message...), 0)
	if err != nil {
		panic(err)
	}
	return b
}

func put(id uint32, key string, value []byte) []byte {
	w := storage.WriteSet{Ops: []storage.Op{storage.Put([]byte(key), value)}}
	return frame(id, abi.OpApply, &abi.Header{Now: 1}, abi.AppendWriteSet(nil, &w))
}

// call runs doCall and gives the answers.
func (i *instance) call(t testing.TB, frames ...[]byte) []abi.Frame {
	t.Helper()
	var all []byte
	for _, f := range frames {
		all = append(all, f...)
	}
	r := i.doCall(i.write(all))
	if r.isErr || r.code != 0 {
		t.Fatal(abi.DecodeError(r.bytes))
	}
	var answers []abi.Frame
	for rest := r.bytes; len(rest) > 0; {
		f, after, err := abi.ReadFrame(rest, 0)
		if err != nil {
			t.Fatal(err)
		}
		answers, rest = append(answers, f), after
	}
	return answers
}

func TestOpen(t *testing.T) {
	var env sdk.Env
	open := func(_ context.Context, e sdk.Env) (storage.Backend, error) {
		env = e
		return memory.New(memory.DefaultConfig(), e), nil
	}
	i := opened(t, open, func(o *abi.Open) { o.Config, o.Memory, o.Incarnation = []byte(`{"a":1}`), 1<<30, [16]byte{5} })
	i.write(make([]byte, 100)) // the next request must not change what the backend was given
	if env.Name != "test" || string(env.Config) != `{"a":1}` || env.Memory != 1<<30 || env.MaxMessage != 4<<20 || env.Incarnation != [16]byte{5} ||
		env.Now().UnixMilli() != 1_700_000_000_000 {
		t.Errorf("%+v", env)
	}
	if r := openWith(i, nil); !r.isErr || !strings.Contains(abi.DecodeError(r.bytes).Error(), "open already") {
		t.Errorf("opened twice: %+v", r)
	}
	for name, c := range map[string]struct {
		open sdk.Opener
		n    int
		want string
	}{
		"nobody serves": {nil, 0, "guest.Serve"},
		"garbage":       {open, 3, ""},
		"its own error": {func(context.Context, sdk.Env) (storage.Backend, error) {
			return nil, sdk.ConfigErrorf("a.b", "no good")
		}, 0, "no good"},
		"a panic": {func(context.Context, sdk.Env) (storage.Backend, error) { panic("boom") }, 0, "panic: boom"},
	} {
		i := &instance{open: c.open, log: func(slog.Level, []byte) {}}
		i.buffer(10)
		i.request[0], i.request[1], i.request[2] = 0xFF, 0xFF, 0xFF
		r := i.doOpen(c.n)
		if e := abi.DecodeError(r.bytes); !r.isErr || !strings.Contains(e.Error(), c.want) {
			t.Errorf("%s: %v", name, e)
		}
		if r := i.doClose(); !r.isErr {
			t.Errorf("%s: it can be closed", name)
		}
	}
}

// The answers of one call are to its first frames, in order, and never more than
// the first one's budget, but always one.
func TestCall(t *testing.T) {
	i := opened(t, memory.Open, nil)
	answers := i.call(t, put(0, "a", []byte("1")), frame(1, abi.OpGet, nil, abi.AppendGet(nil, []byte("a"))), frame(2, 99, nil, nil))
	for n, code := range []storage.Code{storage.OK, storage.OK, storage.Unsupported} {
		if answers[n].ID != uint32(n) || storage.Code(answers[n].Kind) != code {
			t.Errorf("answer %d: %d %v", n, answers[n].ID, answers[n].Err())
		}
	}

	// A frame with unknown flags, and one with a header that is cut, are refused
	// alone.
	flags, header := put(1, "x", nil), put(2, "x", nil)
	flags[9] = 1
	header[12] = 7 // an unknown tag, whose length byte reaches beyond the header
	header[13] = 200
	answers = i.call(t, put(0, "b", nil), flags, header, put(3, "c", nil))
	if len(answers) != 4 || answers[1].Err() == nil || answers[2].Err() == nil || answers[3].Err() != nil {
		t.Errorf("%d answers: %v", len(answers), answers)
	}

	// Large answers: as many as fit into what all of a call may have together, then the
	// rest in another call. One that alone has more is alone.
	for size, want := range map[int]int{1 << 20: 1, 300 << 10: 3, 100 << 10: 10} {
		var gets [][]byte
		for n := range 10 {
			i.call(t, put(0, string(rune('k'+n)), make([]byte, size)))
			gets = append(gets, frame(uint32(n), abi.OpGet, nil, abi.AppendGet(nil, []byte{byte('k' + n)})))
		}
		if answers = i.call(t, gets...); len(answers) != want {
			t.Errorf("%d answers of %d bytes, want %d", len(answers), size, want)
		}
		scans := make([][]byte, 10)
		for n := range scans {
			scans[n] = frame(uint32(n), abi.OpScan, nil, abi.AppendQuery(nil, &storage.Query{Start: []byte("k")}))
		}
		if answers = i.call(t, scans...); len(answers) != 1 {
			t.Errorf("%d pages in one call", len(answers))
		}
		// The same key again and again is counted each time.
		repeated := make([][]byte, 100)
		for n := range repeated {
			repeated[n] = []byte("k")
		}
		answers = i.call(t, frame(0, abi.OpGetMany, nil, abi.AppendGetMany(nil, repeated)))
		if e := answers[0].Err(); e == nil || e.Code != storage.RangeLimit || e.Limit.Actual < int64(100*size) || e.Limit.Max > 4<<20 {
			t.Errorf("a hundred times a value of %d bytes: %v", size, e)
		}
		if cap(i.out) > 4<<20 {
			t.Errorf("a buffer of %d bytes for answers of at most 4 MiB", cap(i.out))
		}
	}
	i.call(t, put(0, "k", make([]byte, 1<<20)))
	i.call(t, put(0, "l", make([]byte, 1<<20)))
	gets := [][]byte{nil, frame(1, abi.OpGet, nil, abi.AppendGet(nil, []byte("l")))}
	small := &abi.Header{Budget: 128 << 10}
	answers = i.call(t, frame(0, abi.OpGet, small, abi.AppendGet(nil, []byte("k"))), gets[1])
	if e := answers[0].Err(); len(answers) != 1 || e == nil || e.Code != storage.RangeLimit {
		t.Errorf("more than the budget: %v", answers[0].Err())
	}

	// What is no frame ends the instance's trust in its host, not the instance.
	if r := i.doCall(i.write([]byte{1, 2, 3})); !r.isErr {
		t.Error("three bytes are a frame")
	}
	if r := i.doCall(1 << 30); r.isErr && i.broken != nil {
		t.Error("a length beyond the buffer broke it")
	}
}

func TestGet(t *testing.T) {
	i := opened(t, memory.Open, nil)
	i.call(t, put(0, "a", []byte("1")))
	r := i.doGet(i.write([]byte("a")), 5)
	var it storage.Item
	if err := abi.DecodeItem(r.bytes, &it); r.isErr || err != nil || string(it.Value) != "1" || it.Key != nil || it.Version == 0 {
		t.Errorf("%+v %+v", r, it)
	}
	if r := i.doGet(i.write([]byte("none")), 5); r.code != uint8(storage.NotFound) {
		t.Errorf("%+v", r)
	}
	i.doClose()
	if r := i.doGet(i.write([]byte("a")), 5); r.code != abi.CodeUseCall {
		t.Errorf("an error's details come through plinth_call: %+v", r)
	}
	if answers := i.call(t, frame(0, abi.OpGet, nil, abi.AppendGet(nil, []byte("a")))); storage.Code(answers[0].Kind) != storage.ShuttingDown {
		t.Error(answers[0].Err())
	}
	if n := testing.AllocsPerRun(1000, func() { i.doGet(1, 5) }); n > 2 {
		t.Errorf("%.0f allocations", n) // closed: an error each for the fast way and the one behind it
	}
}

// panics panics in the method that it names.
type panics struct {
	storage.UnimplementedBackend
	in string
}

func (p *panics) at(method string) {
	if p.in == method {
		panic("boom in " + method)
	}
}

func (p *panics) Get(context.Context, []byte) (storage.Item, error) {
	p.at("get")
	return storage.Item{}, storage.ErrNotFound
}

func (p *panics) Scan(context.Context, storage.Query) (storage.Page, error) {
	p.at("scan")
	return storage.Page{}, nil
}

func (p *panics) Apply(context.Context, *storage.WriteSet) (uint64, error) {
	p.at("apply")
	return 1, nil
}

func (p *panics) Close(context.Context) error {
	p.at("close")
	return nil
}

// A panic is an error with its text, for the call as a whole, and nothing works
// afterwards.
func TestPanics(t *testing.T) {
	for _, method := range []string{"get", "scan", "apply", "close"} {
		i := opened(t, func(context.Context, sdk.Env) (storage.Backend, error) { return &panics{in: method}, nil }, nil)
		run := map[string]func() result{
			"get":   func() result { return i.doGet(i.write([]byte("k")), 1) },
			"scan":  func() result { return i.doCall(i.write(frame(0, abi.OpScan, nil, nil))) },
			"apply": func() result { return i.doCall(i.write(put(0, "k", nil))) },
			"close": i.doClose,
		}
		for other, f := range run {
			if other != method {
				if r := f(); r.isErr {
					t.Fatalf("%s: %v", other, abi.DecodeError(r.bytes))
				}
			}
		}
		for _, f := range []func() result{run[method], run["get"], run["apply"], run["close"]} {
			r := f()
			if e := abi.DecodeError(r.bytes); !r.isErr || !e.Unknown || !strings.Contains(e.Error(), "panic: boom in "+method) {
				t.Errorf("%s: %+v", method, r)
			}
		}
	}
}

// Buffers are used again, and large ones given back.
func TestBuffers(t *testing.T) {
	i := opened(t, func(ctx context.Context, env sdk.Env) (storage.Backend, error) {
		b, err := memory.Open(ctx, env)
		return struct{ storage.Backend }{b}, err
	}, nil)
	if n := len(i.buffer(10)); n < 4096 {
		t.Errorf("%d bytes", n)
	}
	first := &i.buffer(10)[0]
	if &i.buffer(4096)[0] != first {
		t.Error("a buffer that is large enough is not used again")
	}
	if n := len(i.buffer(5 << 20)); n < 5<<20 {
		t.Errorf("%d bytes", n)
	}
	if n := cap(i.buffer(10)); n > keptBuffer {
		t.Errorf("%d bytes are kept for ten", n)
	}
}

// A fixed backend has one buffer for all requests that are not small, and no larger
// one.
func TestFixedBuffers(t *testing.T) {
	i := opened(t, memory.Open, func(o *abi.Open) { o.MaxFrame = 64 << 20 })
	request, _ := i.fixed.Messages()
	large := i.buffer(1 << 20)
	for _, n := range []int{10, 5 << 20, request, 10} {
		if b := i.buffer(n); len(b) != request || &b[0] != &large[0] {
			t.Errorf("another buffer for %d bytes, of %d", n, len(b))
		}
	}
	if b := i.buffer(request + 1); b != nil {
		t.Errorf("a buffer of %d bytes", len(b))
	}
}

// The clock is the host's, and never goes back.
func TestClock(t *testing.T) {
	i := opened(t, memory.Open, nil)
	start := i.clock()
	i.doGet(i.write([]byte("k")), start.UnixMilli()+50)
	i.doGet(i.write([]byte("k")), start.UnixMilli()+20)
	if got := i.clock().Sub(start); got != 50*time.Millisecond {
		t.Error(got)
	}
	i.call(t, frame(0, abi.OpGet, &abi.Header{Now: start.UnixMilli() + 70}, abi.AppendGet(nil, nil)))
	if got := i.clock().Sub(start); got != 70*time.Millisecond {
		t.Error(got)
	}
}

// A record arrives as JSON, with its attributes and groups, and without a time:
// the host's clock is the only clock.
func TestLog(t *testing.T) {
	var level slog.Level
	var fields map[string]any
	traceparent := ""
	log := slog.New(newHandler(func(l slog.Level, record []byte) {
		level, fields = l, nil
		if err := json.Unmarshal(record, &fields); err != nil {
			t.Errorf("%s: %v", record, err)
		}
	}, func() []byte { return []byte(traceparent) }))
	log.With("a", 1).WithGroup("g").Warn("hello", "b", errors.New("no"), "time", "mine")
	group, _ := fields["g"].(map[string]any)
	if level != slog.LevelWarn || fields["msg"] != "hello" || fields["a"] != 1.0 || group["b"] != "no" || group["time"] != "mine" || fields["time"] != nil {
		t.Errorf("%v %v", level, fields)
	}
	if log.Debug("deep"); level != slog.LevelDebug || fields["span_id"] != nil {
		t.Error(level, fields)
	}
	// In a call that is traced, a record names the span, outside of all groups.
	traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	if log.WithGroup("g").Info("traced", "b", 1); fields["span_id"] != "00f067aa0ba902b7" || fields["msg"] != "traced" || fields["g"] == nil {
		t.Error(fields)
	}
}

// The answers of one call have an eighth of the memory, and room for the largest item.
func TestMostAnswer(t *testing.T) {
	for _, c := range []struct {
		memory uint64
		limits storage.Limits
		want   int
	}{
		{64 << 20, storage.Limits{Key: 1 << 10, Value: 1 << 20}, 8 << 20},
		{4 << 20, storage.Limits{Key: 1 << 10, Value: 1 << 20}, 1<<20 + 1<<10 + sdk.AnswerReserve},
		{64 << 20, storage.Limits{Key: 1 << 10}, math.MaxInt}, // values have no limit: nor have answers
		{0, storage.Limits{Key: 1 << 10, Value: 1 << 20}, math.MaxInt},
	} {
		if got := mostAnswer(c.memory, &c.limits); got != c.want {
			t.Errorf("with %d bytes of memory and %+v: %d, want %d", c.memory, c.limits, got, c.want)
		}
	}
}
