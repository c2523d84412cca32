package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	netrpc "net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/procs"
)

// other is something in another process that holds the items.
type other struct {
	name string
	pid  int
	get  func(ctx context.Context, caller int, key []byte) (int, error)
	many func(ctx context.Context, keys [][]byte) (int, error) // nil if it cannot
}

// others holds all of them; end stops them.
type others struct {
	list []*other
	ends []func() error
}

func (o *others) end() error {
	var errs []error
	for i := len(o.ends) - 1; i >= 0; i-- {
		errs = append(errs, o.ends[i]())
	}
	return errors.Join(errs...)
}

const mostCallers = 64

// startOthers starts the floor, ours, and the peers. Without a redis-server its rows
// are left out, and a line says so.
func startOthers(ctx context.Context, dir string) (o *others, err error) {
	o = &others{}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.end())
		}
	}()
	if err := o.raw(ctx, dir); err != nil {
		return o, fmt.Errorf("raw socket: %w", err)
	}
	for _, plain := range []bool{false, true} {
		if err := o.ours(ctx, plain); err != nil {
			return o, fmt.Errorf("ours: %w", err)
		}
	}
	for _, kind := range []string{"gRPC", "net/rpc"} {
		if err := o.bare(kind); err != nil {
			return o, fmt.Errorf("go-plugin over %s: %w", kind, err)
		}
	}
	if err := o.redis(ctx, dir); errors.Is(err, exec.ErrNotFound) {
		fmt.Println("\nNo redis-server is installed (Debian's redis-server): its rows are left out.")
	} else if err != nil {
		return o, fmt.Errorf("redis: %w", err)
	}
	return o, nil
}

// raw starts a connection for each caller, and a key and a value on it.
func (o *others) raw(ctx context.Context, dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "raw")
	cmd := exec.CommandContext(ctx, self, path)
	cmd.Env, cmd.Stderr = append(os.Environ(), asChild+"=raw"), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	o.ends = append(o.ends, func() error { cmd.Process.Kill(); cmd.Wait(); return nil })
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return err
	}
	var conns [mostCallers]net.Conn
	var answers [mostCallers][]byte
	for i := range conns {
		if conns[i], err = net.Dial("unix", path); err != nil {
			return err
		}
		answers[i] = make([]byte, 4+len(value))
	}
	o.list = append(o.list, &other{name: "raw unix socket", pid: cmd.Process.Pid, get: func(_ context.Context, caller int, key []byte) (int, error) {
		if _, err := conns[caller].Write(key); err != nil {
			return 0, err
		}
		_, err := io.ReadFull(conns[caller], answers[caller])
		return int(binary.LittleEndian.Uint32(answers[caller])), err
	}})
	return nil
}

// memoryProcess opens the memory plugin as a process.
func memoryProcess(ctx context.Context, change func(*procs.Options)) (*procs.Backend, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	opts := procs.Options{Name: "memory", Command: []string{self}, Env: carrier.EnvOf(map[string]string{asChild: "memory"}), Log: slog.New(slog.DiscardHandler)}
	change(&opts)
	p, err := procs.New(opts)
	if err != nil {
		return nil, err
	}
	return p.Open(ctx, "", nil)
}

func (o *others) ours(ctx context.Context, plain bool) error {
	b, err := memoryProcess(ctx, func(opts *procs.Options) { opts.Plain = plain })
	if err != nil {
		return err
	}
	o.ends = append(o.ends, func() error { return b.Close(context.WithoutCancel(ctx)) })
	if err := fill(ctx, backend{b}); err != nil {
		return err
	}
	name := "Plinth, frames"
	if plain {
		name = "Plinth, gRPC"
	}
	o.list = append(o.list, &other{name: name, pid: b.PID(),
		get: func(ctx context.Context, _ int, key []byte) (int, error) { return backend{b}.get(ctx, key) },
		many: func(ctx context.Context, keys [][]byte) (int, error) {
			items, err := b.GetMany(ctx, keys)
			return len(items), err
		}})
	return nil
}

// bare starts go-plugin alone.
func (o *others) bare(kind string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), asChild+"="+kind)
	config := &plugin.ClientConfig{HandshakeConfig: bareHandshake, Cmd: cmd, Logger: hclog.NewNullLogger(), Plugins: plugin.PluginSet{"kv": &bareRPC{}}}
	if kind == "gRPC" {
		config.Plugins, config.AllowedProtocols = plugin.PluginSet{"kv": &bareGRPC{}}, []plugin.Protocol{plugin.ProtocolGRPC}
	}
	c := plugin.NewClient(config)
	o.ends = append(o.ends, func() error { c.Kill(); return nil })
	protocol, err := c.Client()
	if err != nil {
		return err
	}
	kv, err := protocol.Dispense("kv")
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(c.ID())
	if err != nil {
		return err
	}
	of := &other{name: "go-plugin, " + kind, pid: pid}
	switch kv := kv.(type) {
	case *grpc.ClientConn:
		of.get = func(ctx context.Context, _ int, key []byte) (int, error) {
			var answer wrapperspb.BytesValue
			err := kv.Invoke(ctx, bareGet, wrapperspb.Bytes(key), &answer)
			return len(answer.Value), err
		}
	case *netrpc.Client:
		of.get = func(_ context.Context, _ int, key []byte) (int, error) {
			var answer []byte
			err := kv.Call("Plugin.Get", key, &answer)
			return len(answer), err
		}
	}
	o.list = append(o.list, of)
	return nil
}

// redis starts a server over its unix socket, with two clients.
func (o *others) redis(ctx context.Context, dir string) error {
	path := filepath.Join(dir, "redis")
	cmd := exec.CommandContext(ctx, "redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no", "--dir", dir)
	if err := cmd.Start(); err != nil {
		return err
	}
	o.ends = append(o.ends, func() error { cmd.Process.Kill(); cmd.Wait(); return nil })
	pooled := redis.NewClient(&redis.Options{Network: "unix", Addr: path, PoolSize: mostCallers})
	o.ends = append(o.ends, pooled.Close)
	for end := time.Now().Add(10 * time.Second); pooled.Ping(ctx).Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return errors.New("the server does not come up")
		}
	}
	for _, k := range keys {
		if err := pooled.Set(ctx, string(k), value, 0).Err(); err != nil {
			return err
		}
	}
	o.list = append(o.list, &other{name: "Redis, go-redis", pid: cmd.Process.Pid,
		get: func(ctx context.Context, _ int, key []byte) (int, error) {
			v, err := pooled.Get(ctx, string(key)).Bytes()
			return len(v), err
		},
		many: func(ctx context.Context, keys [][]byte) (int, error) {
			names := make([]string, len(keys))
			for i, k := range keys {
				names[i] = string(k)
			}
			values, err := pooled.MGet(ctx, names...).Result()
			return len(values), err
		}})
	pipelined, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{path}, DisableCache: true,
		DialCtxFn: func(ctx context.Context, _ string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return d.DialContext(ctx, "unix", path)
		}})
	if err != nil {
		return err
	}
	o.ends = append(o.ends, func() error { pipelined.Close(); return nil })
	o.list = append(o.list, &other{name: "Redis, rueidis", pid: cmd.Process.Pid,
		get: func(ctx context.Context, _ int, key []byte) (int, error) {
			v, err := pipelined.Do(ctx, pipelined.B().Get().Key(string(key)).Build()).AsBytes()
			return len(v), err
		},
		many: func(ctx context.Context, keys [][]byte) (int, error) {
			names := make([]string, len(keys))
			for i, k := range keys {
				names[i] = string(k)
			}
			values, err := pipelined.Do(ctx, pipelined.B().Mget().Key(names...).Build()).ToArray()
			return len(values), err
		}})
	return nil
}
