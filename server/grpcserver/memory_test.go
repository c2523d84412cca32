package grpcserver_test

import (
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
)

// peakHeap is by how much the heap grows while f runs, at most, garbage that is not
// collected yet included: it is collected early.
func peakHeap(f func()) (peak uint64) {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	debug.FreeOSMemory()
	read := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	before := read()
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case <-time.After(2 * time.Millisecond):
				if now := read(); now > before {
					peak = max(peak, now-before)
				}
			}
		}
	}()
	f()
	close(quit)
	<-done
	return peak
}

const memoryOfTests = 64 << 20

// endless is an upload that says how long it is and sends so much of it.
func endless(t *testing.T, s *served, says, sends int) {
	// One connection each, HTTP/2 in plain text.
	web := &http.Transport{Protocols: new(http.Protocols)}
	web.Protocols.SetUnencryptedHTTP2(true)
	body, send := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.addr+abigrpc.MethodApply, body)
	must(t, err)
	r.Header.Set("Content-Type", "application/grpc+proto")
	r.Header.Set("Te", "trailers")
	done := make(chan struct{})
	go func() {
		defer close(done)
		if answer, err := web.RoundTrip(r); err == nil {
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
	}()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		head := binary.BigEndian.AppendUint32([]byte{0}, uint32(says))
		send.Write(head)
		part := make([]byte, 16<<10)
		for n := 0; n < sends; n += len(part) {
			if _, err := send.Write(part); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		send.Close()
		body.Close()
		<-sent
		<-done
		web.CloseIdleConnections()
	})
}

// Uploads that never end hold what they have sent, within the budget, and keep no one
// out.
func TestEndlessUploads(t *testing.T) {
	var memory *budget.Budget
	s := serve(t, func(c *grpcserver.Config, set *grpcserver.Settings) {
		memory = budget.New(memoryOfTests)
		c.MaxConcurrent, set.Memory = 16, memory
	})
	s.fill("k")
	peak := peakHeap(func() {
		for range 60 { // 240 MiB
			endless(t, s, 7<<20, 4<<20)
		}
		for deadline := time.Now().Add(20 * time.Second); memory.Stats().Used < memoryOfTests/2; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("only %d bytes have arrived", memory.Stats().Used)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := s.get(ctx, "k"); err != nil {
			t.Errorf("a get beside them: %v", err)
		}
		var applied abigrpc.ApplyResponse
		large := &abigrpc.WriteSet{WriteSet: storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("large"), make([]byte, 1<<20))}}}
		apply := func() error {
			return s.conn.Invoke(ctx, abigrpc.MethodApply, large, &applied, grpc.ForceCodecV2(abigrpc.NewCodec()))
		}
		err := apply()
		for tries := 0; err != nil && tries < 2; tries++ { // as the error says
			time.Sleep(s.fails(err, codes.Unavailable, storage.Unavailable).RetryAfter)
			err = apply()
		}
		if err != nil {
			t.Errorf("an upload beside them: %v", err)
		}
	})
	if peak > memoryOfTests*3/2 {
		t.Errorf("%d MiB were held", peak>>20)
	}
}

// Callers who do not take their answers hold no more than the budget, and are cut off
// in the end.
func TestAnswersThatNobodyTakes(t *testing.T) {
	var memory *budget.Budget
	s := serve(t, func(c *grpcserver.Config, set *grpcserver.Settings) {
		memory = budget.New(memoryOfTests)
		c.MaxConcurrent, c.WriteTimeout, set.Memory = 256, 500*time.Millisecond, memory
	})
	must(t, s.store.Set(context.Background(), []byte("large"), make([]byte, 1<<20)))
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	peak := peakHeap(func() {
		for range 3 {
			conn, err := grpc.NewClient("passthrough:///"+s.addr, grpc.WithTransportCredentials(insecureCredentials()), grpc.WithInitialWindowSize(64<<10), grpc.WithInitialConnWindowSize(64<<10))
			must(t, err)
			defer conn.Close()
			for range 80 {
				deaf, err := conn.NewStream(context.Background(), desc, abigrpc.MethodGet, grpc.ForceCodecV2(abigrpc.NewCodec()))
				if err != nil { // the connection was cut off already
					break
				}
				deaf.SendMsg(&abigrpc.GetRequest{Key: []byte("large")})
				deaf.CloseSend()
			}
		}
		for deadline := time.Now().Add(20 * time.Second); memory.Stats().Used > 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d bytes are still held", memory.Stats().Used)
			}
		}
	})
	if peak > memoryOfTests*3/2 {
		t.Errorf("%d MiB were held", peak>>20)
	}
	if v, err := s.get(context.Background(), "large"); err != nil {
		t.Errorf("%v, %v", v, err)
	}
}

// Many names of one key are one read, and one value in memory.
func TestRepeatsAreReadOnce(t *testing.T) {
	s := serve(t, func(_ *grpcserver.Config, set *grpcserver.Settings) { set.Memory = budget.New(memoryOfTests) })
	must(t, s.store.Set(context.Background(), []byte("large"), make([]byte, 1<<20)))
	var request abigrpc.GetManyRequest
	for range 1000 {
		request.Keys = append(request.Keys, []byte("large"))
	}
	peak := peakHeap(func() {
		var items abigrpc.Items
		err := s.conn.Invoke(context.Background(), abigrpc.MethodGetMany, &request, &items, grpc.ForceCodecV2(abigrpc.NewCodec()))
		s.fails(err, codes.OutOfRange, storage.RangeLimit)
		request.Keys = request.Keys[:3]
		must(t, s.conn.Invoke(context.Background(), abigrpc.MethodGetMany, &request, &items, grpc.ForceCodecV2(abigrpc.NewCodec())))
		if len(items.Items) != 3 {
			t.Errorf("%d items", len(items.Items))
		}
	})
	if peak > memoryOfTests {
		t.Errorf("%d MiB were held", peak>>20)
	}
}

// heavy holds one large item, which it makes anew for each read, and reports whether
// the last one is still referenced.
type heavy struct {
	storage.UnimplementedBackend
	last *atomic.Pointer[weak.Pointer[byte]]
}

func (heavy) Info() storage.Info {
	return storage.Info{Name: "heavy", Version: "1", Caps: storage.CapOrdered}
}

func (h heavy) Get(context.Context, []byte) (storage.Item, error) {
	value := make([]byte, 5<<20)
	last := weak.Make(&value[0])
	h.last.Store(&last)
	return storage.Item{Key: []byte("large"), Value: value}, nil
}

func (h heavy) GetMany(ctx context.Context, _ [][]byte) ([]storage.Item, error) {
	it, err := h.Get(ctx, nil)
	return []storage.Item{it}, err
}

func (h heavy) Scan(ctx context.Context, _ storage.Query) (storage.Page, error) {
	it, err := h.Get(ctx, nil)
	return storage.Page{Items: []storage.Item{it}}, err
}

// What was read and has no room is not kept while room is waited for: whether it is an item,
// several, or a page.
func TestWhatHasNoRoomIsNotKept(t *testing.T) {
	for method, request := range map[string]abigrpc.Message{
		abigrpc.MethodGet:     &abigrpc.GetRequest{Key: []byte("large")},
		abigrpc.MethodGetMany: &abigrpc.GetManyRequest{Keys: [][]byte{[]byte("large")}},
		abigrpc.MethodScan:    &abigrpc.ScanRequest{},
	} {
		memory, last := budget.New(memoryOfTests), new(atomic.Pointer[weak.Pointer[byte]])
		s := serve(t, func(_ *grpcserver.Config, set *grpcserver.Settings) {
			set.Memory = memory
			set.Stores["s"] = storage.New(heavy{last: last}, storage.Settings{})
		})
		for i := range 4 { // there is room for the call, and for no such item
			a := memory.Open(i)
			defer a.Close()
			must(t, a.Take(t.Context(), memoryOfTests/4-1<<20))
		}
		ended := make(chan error, 1)
		go func() { ended <- s.call(context.Background(), method, request, &abigrpc.Empty{}) }()
		dropped := func() bool {
			p := last.Load()
			runtime.GC()
			return p != nil && p.Value() == nil
		}
		for !dropped() {
			select {
			case err := <-ended:
				t.Fatalf("%s: it was kept until the call ended: %v", method, err)
			case <-time.After(5 * time.Millisecond):
			}
		}
		if err := <-ended; status.Code(err) != codes.Unavailable || abigrpc.FromStatus(err) == nil || abigrpc.FromStatus(err).RetryAfter == 0 {
			t.Errorf("%s: %v, want UNAVAILABLE with a time to try again", method, err)
		}
	}
}

// Health is reported whatever is held, and other calls are refused with a time to come again.
func TestNoMemory(t *testing.T) {
	memory := budget.New(memoryOfTests)
	s := serve(t, func(_ *grpcserver.Config, set *grpcserver.Settings) { set.Memory = memory })
	for i := range 4 {
		a := memory.Open(i)
		defer a.Close()
		must(t, a.Take(t.Context(), memoryOfTests/4))
	}
	if is, err := healthpb.NewHealthClient(s.conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil || is.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("%v, %v", is, err)
	}
	_, err := s.get(t.Context(), "k")
	if e := s.fails(err, codes.Unavailable, storage.Unavailable); e.RetryAfter == 0 || e.Limit.Kind != "server.limits.memory" {
		t.Errorf("%+v", e)
	}
	if n := memory.Stats().Waiting; n != 0 {
		t.Errorf("%d still wait", n)
	}
}
