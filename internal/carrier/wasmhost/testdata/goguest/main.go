// A plugin in Go for the tests of its carrier: a get does what its key says, and
// returns the outcome.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/sdk/guest"
	"github.com/plinthkv/plinth/storage"
)

func init() { guest.Serve(open) }

func main() {}

func open(_ context.Context, env sdk.Env) (storage.Backend, error) {
	var config struct {
		Fail  string   `json:"fail"`
		Bytes sdk.Size `json:"bytes"`
		// Changes are what calls for changes give: "" (unsupported), "right", "back", or
		// "unordered".
		Changes string `json:"changes"`
	}
	if err := sdk.DecodeConfig(env.Config, &config); err != nil {
		return nil, err
	}
	switch config.Fail {
	case "":
	case "panic":
		panic("boom in open")
	default:
		return nil, sdk.ConfigErrorf("fail", "it was told to: %s", config.Fail)
	}
	return &backend{env: env, changes: config.Changes}, nil
}

type backend struct {
	storage.UnimplementedBackend
	env   sdk.Env
	ticks int
	keep  [][]byte

	changes string
	log     []storage.Change // of version 1 and up
}

func (b *backend) Info() storage.Info {
	info := storage.Info{Name: "go", Version: "1", Incarnation: b.env.Incarnation}
	if b.changes != "" {
		info.Caps = storage.CapVersions | storage.CapChanges
	}
	return info
}

func (b *backend) Health(context.Context, storage.Probe) (storage.Health, error) {
	return storage.Health{Status: storage.Healthy}, nil
}

func (b *backend) Close(context.Context) error { return nil }

func (b *backend) Apply(_ context.Context, w *storage.WriteSet) (uint64, error) {
	if b.changes != "" {
		version := uint64(len(b.log) + 1)
		b.log = append(b.log, storage.OpChange(&storage.Op{Kind: w.Ops[0].Kind, Key: append([]byte{}, w.Ops[0].Key...)}, version))
		return version, nil
	}
	b.do(string(w.Ops[0].Key))
	return 1, nil
}

// Changes returns what came after a version. A module cannot wait: the host does.
func (b *backend) Changes(_ context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	current := uint64(len(b.log))
	switch {
	case b.changes == "":
		return storage.ChangePage{}, storage.ErrUnsupported
	case q.Wait != 0:
		return storage.ChangePage{}, storage.Errorf(storage.Internal, "a module is asked to wait for %s", q.Wait)
	case q.FromNow:
		return storage.ChangePage{Next: current}, nil
	case b.changes == "back":
		return storage.ChangePage{Next: q.After - 1}, nil
	case b.changes == "unordered":
		return storage.ChangePage{Next: current, Changes: []storage.Change{b.log[current-1], b.log[current-2]}}, nil
	}
	if err := q.CheckAfter(0, current); err != nil {
		return storage.ChangePage{}, err
	}
	c := storage.NewChangeCollector(q)
	for _, one := range b.log[q.After:] {
		if !c.Add(one.Version, one) {
			return c.Page(), nil
		}
	}
	c.Reach(current)
	return c.Page(), nil
}

func (b *backend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if string(key) == "trace" {
		parent, state := sdk.TraceContext(ctx)
		return storage.Item{Value: []byte(parent + " " + state)}, nil
	}
	return storage.Item{Value: fmt.Append(nil, b.do(string(key)))}, nil
}

func (b *backend) do(what string) any {
	what, argument, _ := strings.Cut(what, " ")
	switch what {
	case "panic":
		panic("boom")
	case "panic-error":
		panic(fmt.Errorf("an error with %d", 42))
	case "nil":
		var none *backend
		return none.ticks
	case "goroutine-panic":
		go func() { panic("boom elsewhere") }()
		time.Sleep(time.Millisecond)
	case "exit":
		os.Exit(3)
	case "deadlock":
		select {}
	case "spin":
		for {
		}
	case "sleep":
		d, err := time.ParseDuration(argument)
		if err != nil {
			return err
		}
		start := time.Now()
		time.Sleep(d)
		return time.Since(start) >= d
	case "tick":
		go func() { // it goes on only while a call runs
			for {
				time.Sleep(time.Millisecond)
				b.ticks++
			}
		}()
	case "ticks":
		return b.ticks
	case "recurse":
		return recurse(0)
	case "eat":
		for {
			b.keep = append(b.keep, make([]byte, 1<<20))
		}
	case "garbage":
		n := 0
		for i := range 1000 {
			b := make([]byte, 1<<20)
			for j := 0; j < len(b); j += 16 { // as real garbage was: a collector that is busy more than half the time lets the limit go
				b[j] = byte(i + j)
			}
			n += len(b)
		}
		return n
	case "log":
		b.env.Log.With("a", 1).WithGroup("g").Info("hello", "b", "two", "c", []int{1, 2})
		b.env.Log.Debug("details")
	case "forge":
		b.env.Log.Info("forged", "trace_id", "4bf92f3577b34da6a3ce929d0e0e4736", "span_id", "00f067aa0ba902b7", "plugin", "another", "a", 1)
	case "print":
		fmt.Println("to standard output")
		fmt.Fprintln(os.Stderr, "to standard error")
	case "env":
		return os.Environ()
	case "file":
		_, err := os.ReadFile("/etc/passwd")
		return err
	case "create":
		return os.WriteFile(argument, nil, 0o600)
	case "dial":
		_, err := net.Dial("tcp", argument)
		return err
	case "now":
		return b.env.Now().UnixMilli()
	}
	return "done"
}

//go:noinline
func recurse(n int) int { return recurse(n+1) + n }
