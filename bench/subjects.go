package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	extism "github.com/extism/go-sdk"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/plinthkv/plinth/bench/peers/goplugin/kvpb"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/otel"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/batch"
	"github.com/plinthkv/plinth/wrappers/cache"
	"github.com/plinthkv/plinth/wrappers/sizelimits"
)

//go:embed peers/extism/kv.wasm
var extismGuest []byte

// guest opens a module on a carrier of its own.
func guest(ctx context.Context, r *wasmhost.Runtime, name string, binary []byte, trusted bool) (*wasmhost.Backend, error) {
	m, err := r.Load(ctx, binary, wasmhost.Options{Name: name, BuiltIn: true, Trusted: trusted, Memory: 1 << 30})
	if err != nil {
		return nil, err
	}
	return m.Open(ctx, nil)
}

// pipeline builds the built-in default over b: instrument, size_limits, cache, batch.
func pipeline(b storage.Backend, meter metric.MeterProvider) (storage.Backend, error) {
	hub := wrappers.NewHub(b)
	s := wrappers.Settings{Store: "default", Hub: hub, Meter: meter}
	batched, err := batch.New(hub.Backend(), batch.DefaultConfig(), s)
	if err != nil {
		return nil, err
	}
	cached, err := cache.New(batched, cache.DefaultConfig(), s)
	if err != nil {
		return nil, err
	}
	limited, err := sizelimits.New(cached, sizelimits.Config{Key: 4 << 10, Value: 4 << 20}, s)
	if err != nil {
		return nil, err
	}
	return otel.New(limited, otel.DefaultConfig(), s)
}

// extismPeer is the C map behind Extism. Its plugin takes one caller at a time.
type extismPeer struct {
	mu  sync.Mutex
	p   *extism.Plugin
	buf []byte
}

func newExtism(ctx context.Context) (*extismPeer, error) {
	p, err := extism.NewPlugin(ctx, extism.Manifest{Wasm: []extism.Wasm{extism.WasmData{Data: extismGuest}}}, extism.PluginConfig{}, nil)
	return &extismPeer{p: p}, err
}

func (e *extismPeer) get(_ context.Context, key []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	code, v, err := e.p.Call("get", key)
	if err == nil && code != 0 {
		err = fmt.Errorf("code %d", code)
	}
	return len(v), err
}

func (e *extismPeer) set(_ context.Context, key, value []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buf = append(append(e.buf[:0], key...), value...)
	code, _, err := e.p.Call("set", e.buf)
	if err == nil && code != 0 {
		err = fmt.Errorf("code %d", code)
	}
	return err
}

// goPluginPeer is a Go map behind knqyf263/go-plugin. Its plugin takes one caller
// at a time.
type goPluginPeer struct {
	mu sync.Mutex
	kv kvpb.KV
}

// newGoPlugin builds the guest, for its module is large, and loads it.
func newGoPlugin(ctx context.Context) (*goPluginPeer, error) {
	dir, err := os.MkdirTemp("", "plinth-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "kv.wasm")
	build := exec.CommandContext(ctx, "go", "build", "-buildmode=c-shared", "-o", file, "./peers/goplugin/guest")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the guest of go-plugin: %w\n%s", err, out)
	}
	p, err := kvpb.NewKVPlugin(ctx)
	if err != nil {
		return nil, err
	}
	kv, err := p.Load(ctx, file)
	return &goPluginPeer{kv: kv}, err
}

func (g *goPluginPeer) get(ctx context.Context, key []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, err := g.kv.Get(ctx, &kvpb.GetRequest{Key: key})
	return len(r.GetValue()), err
}

func (g *goPluginPeer) set(ctx context.Context, key, value []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, err := g.kv.Set(ctx, &kvpb.SetRequest{Key: key, Value: value})
	return err
}

// rows makes every subject, fills it and gives the table's lines.
func rows(ctx context.Context) (_ []*row, closeAll func() error, err error) {
	r, err := wasmhost.NewRuntime(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	c, err := os.ReadFile("../internal/carrier/wasmhost/testdata/guests/kv.wasm")
	if err != nil {
		return nil, nil, err
	}
	native := &floor{items: map[string]storage.Item{}}
	mem := memory.New(memory.DefaultConfig(), sdk.Env{})
	open := func(name string, binary []byte, trusted bool) storage.Backend {
		b, openErr := guest(ctx, r, name, binary, trusted)
		err = errors.Join(err, openErr)
		return b
	}
	cTrusted, cInterruptible := open("kv", c, true), open("kv", c, false)
	memTrusted, memInterruptible := open("memory", module.Wasm, true), open("memory", module.Wasm, false)
	forHits, forMeasured, forMisses := open("memory", module.Wasm, true), open("memory", module.Wasm, true), open("memory", module.Wasm, true)
	forBulk := open("memory", module.Wasm, true)
	if err != nil {
		return nil, nil, err
	}
	hits, err := pipeline(forHits, metricnoop.NewMeterProvider())
	if err != nil {
		return nil, nil, err
	}
	measured, err := pipeline(forMeasured, sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())))
	if err != nil {
		return nil, nil, err
	}
	misses, err := pipeline(forMisses, metricnoop.NewMeterProvider())
	if err != nil {
		return nil, nil, err
	}
	ext, err := newExtism(ctx)
	if err != nil {
		return nil, nil, err
	}
	plug, err := newGoPlugin(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range []point{backend{native}, backend{mem}, backend{cTrusted}, backend{cInterruptible}, backend{memTrusted},
		backend{memInterruptible}, backend{hits}, backend{measured}, backend{misses}, ext, plug} {
		if err := fill(ctx, p); err != nil {
			return nil, nil, err
		}
	}
	web, err := newWeb(mem)
	if err != nil {
		return nil, nil, err
	}
	bulkWeb, err := newWeb(forBulk)
	if err != nil {
		return nil, nil, err
	}
	rpc, err := newRPC(ctx, mem, forBulk)
	if err != nil {
		return nil, nil, err
	}
	alone, err := stageRows()
	if err != nil {
		return nil, nil, err
	}
	const fl, nat = "native map, owned item", "memory, native"
	all := []*row{
		{work: "get", subject: fl, floor: fl, run: gets(backend{native})},
		{work: "get", subject: "C guest, trusted", floor: fl, goal: 1.9, allocs: 1, run: gets(backend{cTrusted})},
		{work: "get", subject: "C guest, interruptible", floor: fl, goal: 5, run: gets(backend{cInterruptible})},
		{work: "get", subject: "knqyf263/go-plugin, Go guest", floor: fl, run: gets(plug)},
		{work: "get", subject: "Extism, C guest", floor: fl, run: gets(ext)},
		{work: "get, memory", subject: nat, floor: nat, run: gets(backend{mem})},
		{work: "get, memory", subject: "memory as WASM", floor: nat, goal: 2.7, run: gets(backend{memTrusted})},
		{work: "get, memory", subject: "memory as WASM, interruptible", floor: nat, run: gets(backend{memInterruptible})},
		{work: "set", subject: fl, floor: fl, run: sets(backend{native})},
		{work: "set", subject: "C guest, trusted", floor: fl, run: sets(backend{cTrusted})},
		{work: "set", subject: "C guest, interruptible", floor: fl, run: sets(backend{cInterruptible})},
		{work: "set", subject: nat, floor: fl, run: sets(backend{mem})},
		{work: "set", subject: "memory as WASM", floor: fl, run: sets(backend{memTrusted})},
		{work: "set", subject: "knqyf263/go-plugin, Go guest", floor: fl, run: sets(plug)},
		{work: "set", subject: "Extism, C guest", floor: fl, run: sets(ext)},
		{work: "set, 64 writers", subject: nat, floor: nat, run: setsTogether(backend{mem})},
		{work: "set, 64 writers", subject: "memory as WASM", floor: nat, run: setsTogether(backend{memTrusted})},
		{work: "get, both trusted", subject: "C guest", floor: "C guest", run: gets(backend{cTrusted})},
		{work: "get, both trusted", subject: "memory as WASM", floor: "C guest", goal: 2.5, run: gets(backend{memTrusted})},
		{work: "set, both trusted", subject: "C guest", floor: "C guest", run: sets(backend{cTrusted})},
		{work: "set, both trusted", subject: "memory as WASM", floor: "C guest", goal: 3, run: sets(backend{memTrusted})},
		{work: "get of 64 KiB", subject: fl, floor: fl, run: getsLarge(backend{native})},
		{work: "get of 64 KiB", subject: "C guest, trusted", floor: fl, run: getsLarge(backend{cTrusted})},
		{work: "get of 64 KiB", subject: "memory as WASM", floor: fl, run: getsLarge(backend{memTrusted})},
		{work: "get of 64 KiB", subject: "knqyf263/go-plugin, Go guest", floor: fl, run: getsLarge(plug)},
		{work: "get of 64 KiB", subject: "Extism, C guest", floor: fl, run: getsLarge(ext)},
		{work: "GetMany of 256, per key", subject: fl, floor: fl, per: manyKeys, run: getsEach(backend{native})},
		{work: "GetMany of 256, per key", subject: "native map, GetMany", floor: fl, per: manyKeys, run: getsMany(native)},
		{work: "GetMany of 256, per key", subject: "C guest, trusted", floor: fl, goal: 1.1, per: manyKeys, run: getsMany(cTrusted)},
		{work: "GetMany of 256, per key", subject: "C guest, interruptible", floor: fl, per: manyKeys, run: getsMany(cInterruptible)},
		{work: "GetMany of 256, per key", subject: "memory as WASM", floor: fl, per: manyKeys, run: getsMany(memTrusted)},
		{work: "scan of 100", subject: nat, floor: nat, run: scans(mem)},
		{work: "scan of 100", subject: "memory as WASM", floor: nat, run: scans(memTrusted)},
		{work: "get, 16 callers", subject: fl, floor: fl, run: concurrent(backend{native})},
		{work: "get, 16 callers", subject: "C guest, trusted", floor: fl, run: concurrent(backend{cTrusted})},
		{work: "get, 16 callers", subject: "C guest, interruptible", floor: fl, run: concurrent(backend{cInterruptible})},
		{work: "get, 16 callers", subject: "memory as WASM", floor: fl, run: concurrent(backend{memTrusted})},
		{work: "get, 16 callers", subject: "knqyf263/go-plugin, Go guest", floor: fl, run: concurrent(plug)},
		{work: "get, 16 callers", subject: "Extism, C guest", floor: fl, run: concurrent(ext)},
		{work: "default pipeline", subject: fl, floor: fl, run: gets(backend{native})},
		{work: "default pipeline", subject: "cache hit", floor: fl, goal: 4, allocs: 2, run: gets(backend{hits})},
		{work: "default pipeline", subject: "cache hit, with metrics", floor: fl, goal: 4, allocs: 2, run: gets(backend{measured})},
		{work: "default pipeline", subject: "cache miss, memory as WASM", floor: fl, run: missing(misses)},
		{work: "default pipeline, set", subject: "memory as WASM alone", floor: "memory as WASM alone", run: sets(backend{memTrusted})},
		{work: "default pipeline, set", subject: "default pipeline", floor: "memory as WASM alone", run: sets(backend{misses})},
		{work: "HTTP get, 64 callers", subject: "empty handler", floor: "empty handler", run: web.run(web.empty)},
		{work: "HTTP get, 64 callers", subject: "memory, native", floor: "empty handler", goal: 1.25, run: web.run(web.store)},
	}
	all = append(all, rpc.rows()...)
	all = append(all, bulkRows(mem, forBulk, bulkWeb, rpc)...)
	all = append(all, alone...)
	return all, func() error { web.close(); bulkWeb.close(); return errors.Join(rpc.close(), r.Close(ctx)) }, nil
}
