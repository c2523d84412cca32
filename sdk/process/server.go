//go:build unix

package process

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// server is the backend of this process, as a host reaches it.
type server struct {
	plugin Plugin
	out    [2]*os.File // standard output and standard error, as the host gave them
	log    *slog.Logger
	last   atomic.Int64 // the host's clock, in ms; never goes back

	mu       sync.Mutex
	opening  bool
	closed   bool
	maxFrame int
	quick    bool
	backend  atomic.Pointer[storage.Backend]

	told    atomic.Bool // it was closed
	flushed sync.Once
	code    int // of the exit, after flushed

	answerers sync.Pool // of *sdk.Answerer, for gRPC
}

var errNotOpen = storage.Errorf(storage.Unavailable, "the plugin is not open")

func newServer(p Plugin) *server {
	s := &server{plugin: p, out: [2]*os.File{os.Stdout, os.Stderr}, log: newLog(os.Stderr, os.Getenv(abi.LevelKey))}
	s.answerers.New = func() any { return s.newAnswerer(true) }
	return s
}

// tell sets what time it is, by the host's clock.
func (s *server) tell(now int64) {
	for {
		last := s.last.Load()
		if now <= last || s.last.CompareAndSwap(last, now) {
			return
		}
	}
}

// now returns the clock that the backend goes by: that of the latest call.
func (s *server) now() time.Time {
	if last := s.last.Load(); last > 0 {
		return time.UnixMilli(last).UTC()
	}
	return time.Now()
}

// env returns what the backend is made with.
func (s *server) env(o *abigrpc.Open) sdk.Env {
	// go-plugin has put pipes in their place, which lose what a process says when it
	// ends. Nothing has been able to print before this.
	os.Stdout, os.Stderr = s.out[0], s.out[1]
	s.tell(o.Now)
	if s.maxFrame = int(o.MaxFrame); s.maxFrame == 0 {
		s.maxFrame = abi.DefaultMaxFrame
	}
	return sdk.Env{
		Name: o.Name, Config: append([]byte(nil), o.Config...), Now: s.now, Log: s.log, Dir: os.Getenv(abi.DirKey),
		Incarnation: o.Incarnation, MaxMessage: s.maxFrame, Memory: int64(o.Memory),
	}
}

// try judges a configuration.
func (s *server) try(ctx context.Context, o *abigrpc.Open) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opening || s.closed {
		return nil, storage.Errorf(storage.InvalidArgument, "the plugin was opened before")
	}
	info, err := s.plugin.Try(ctx, s.env(o))
	if err != nil {
		return nil, err
	}
	return &abigrpc.Info{Info: info}, nil
}

// start makes the backend.
func (s *server) start(ctx context.Context, o *abigrpc.Open) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opening || s.closed {
		return nil, storage.Errorf(storage.InvalidArgument, "the plugin was opened before")
	}
	b, err := s.plugin.Open(ctx, s.env(o))
	if err != nil {
		return nil, err
	}
	s.opening = true
	if q, ok := b.(sdk.Quick); ok {
		s.quick = q.Quick()
	}
	s.backend.Store(&b)
	return &abigrpc.Info{Info: b.Info()}, nil
}

// get returns the backend, once it is open.
func (s *server) get() (storage.Backend, error) {
	if b := s.backend.Load(); b != nil {
		return *b, nil
	}
	return nil, errNotOpen
}

// close closes the backend, once.
func (s *server) close(ctx context.Context) error {
	b, err := s.get()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.told.Store(true)
	return b.Close(ctx)
}

// newAnswerer returns an Answerer of the backend. If shared, it runs along with others,
// and does not use the backend's own encoding, which is for one caller at a time.
func (s *server) newAnswerer(shared bool) *sdk.Answerer {
	b, err := s.get()
	if err != nil {
		return nil
	}
	if shared {
		b = plain{b}
	}
	return sdk.NewAnswerer(b)
}

// plain hides what a backend has in addition to the interface.
type plain struct{ storage.Backend }

// framed is an Answerer as package frames wants one.
type framed struct{ *sdk.Answerer }

func (f framed) Answer(ctx context.Context, dst []byte, request abi.Frame, budget int) []byte {
	return f.AnswerIn(ctx, dst, request, budget)
}

func (f framed) Refuse(dst []byte, id uint32, err error) []byte { return sdk.AppendError(dst, id, err) }
