package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/plugins/etcd"
	"github.com/plinthkv/plinth/storage"
)

// etcdItems is how many items the stores on etcd have, each its own.
const etcdItems = 100_000

// etcdBackend is the plugin, in this process and in one of its own.
var etcdBackend = plinth.WithBackend("etcd", etcd.Open, plinth.TriedBy(etcd.Info))

// etcdRows returns the rows of stores on one member of etcd, which is built and started when
// one of them is measured: the backend next to the client alone. The member syncs.
func etcdRows() (rows []*row, closeAll func() error) {
	m := &etcdMember{}
	stores := map[string]*lazily{}
	for name, open := range map[string]func(*etcdMember) (*durable, error){
		"client": openClient, "etcd, linked in": openOnEtcd("none"), "etcd, a process": openOnEtcd("process"),
	} {
		stores[name] = &lazily{open: func() (*durable, error) {
			if err := m.start(); err != nil {
				return nil, err
			}
			d, err := open(m)
			for n := uint64(0); err == nil && n < etcdItems; n += 100 {
				err = d.load(n, n+100)
			}
			return d, err
		}}
	}
	for _, s := range []struct {
		name     string
		get, set float64
	}{{"client", 0, 0}, {"etcd, linked in", 1.15, 1.15}, {"etcd, a process", 0, 0}} {
		add := func(work string, goal float64, per int, run func(*testing.B, *durable)) {
			rows = append(rows, &row{work: work, subject: s.name, floor: "client", goal: goal, per: per, run: func(b *testing.B) { run(b, stores[s.name].get()) }})
		}
		add("etcd: get", s.get, 1, func(b *testing.B, d *durable) { each(b, d.get) })
		add("etcd: get, 64 readers", s.get, 1, func(b *testing.B, d *durable) { together(b, 64, d.get) })
		add("etcd: set, 1 writer", s.set, 1, func(b *testing.B, d *durable) { together(b, 1, d.set) })
		add("etcd: set, 64 writers", s.set, 1, func(b *testing.B, d *durable) { together(b, 64, d.set) })
		add("etcd: scan, 100", 0, 100, func(b *testing.B, d *durable) { each(b, d.scan) })
	}
	return ordered(rows), func() error {
		var errs []error
		for _, s := range stores {
			errs = append(errs, s.close())
		}
		return errors.Join(append(errs, m.stop())...)
	}
}

// etcdMember runs a cluster of one.
type etcdMember struct {
	once   sync.Once
	err    error
	client string
	dir    string
	cmd    *exec.Cmd
}

func (m *etcdMember) start() error {
	m.once.Do(func() { m.err = m.run() })
	return m.err
}

func (m *etcdMember) run() (err error) {
	if m.dir, err = os.MkdirTemp("", "plinth-bench-etcd-"); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-o", filepath.Join(m.dir, "server"), ".")
	build.Dir = filepath.Join("..", "plugins", "etcd", "internal", "server")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the server: %w\n%s", err, out)
	}
	var urls [2]string
	for i := range urls {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		urls[i] = "http://" + l.Addr().String()
		_ = l.Close() // the server takes it
	}
	m.client = urls[0]
	m.cmd = exec.Command(filepath.Join(m.dir, "server"), "--data-dir", filepath.Join(m.dir, "data"), "--listen-client-urls", urls[0], "--advertise-client-urls", urls[0],
		"--listen-peer-urls", urls[1], "--initial-advertise-peer-urls", urls[1], "--initial-cluster", "default="+urls[1], "--log-level", "error")
	m.cmd.Stderr = os.Stderr
	if err := m.cmd.Start(); err != nil {
		return err
	}
	client, err := m.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err = client.Get(ctx, "ready")
	return err
}

func (m *etcdMember) dial() (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{m.client}, Logger: zap.NewNop()})
}

func (m *etcdMember) stop() error {
	if m.cmd != nil && m.cmd.Process != nil {
		_ = m.cmd.Process.Kill() // nothing of it is kept
		_ = m.cmd.Wait()
	}
	if m.dir == "" {
		return nil
	}
	return os.RemoveAll(m.dir)
}

// openClient opens the client alone, with keys and values as the backend's are long.
func openClient(m *etcdMember) (*durable, error) {
	client, err := m.dial()
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	key := func(n uint64) string { return "bare/a/:d" + string(durableKey(n%etcdItems)) }
	value := func(n uint64) string { return "deadline " + string(durableValue(n)) }
	return &durable{
		load: func(from, to uint64) error {
			var ops []clientv3.Op
			for n := from; n < to; n++ {
				ops = append(ops, clientv3.OpPut(key(n), value(n)))
			}
			_, err := client.Txn(ctx).Then(ops...).Commit()
			return err
		},
		set: func(n uint64) error { _, err := client.Put(ctx, key(n), value(n)); return err },
		get: func(n uint64) error { _, err := client.Get(ctx, key(n)); return err },
		scan: func(n uint64) error {
			_, err := client.Get(ctx, key(n), clientv3.WithRange("bare/a/:e"), clientv3.WithLimit(100))
			return err
		},
		Closer: client,
	}, nil
}

// openOnEtcd opens a store of a host over it, without a pipeline.
func openOnEtcd(isolation string) func(*etcdMember) (*durable, error) {
	return func(m *etcdMember) (*durable, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		ctx := context.Background()
		h, err := plinth.Open(ctx, "", etcdBackend, plinth.WithWorker(self), plinth.WithLogger(slog.New(slog.DiscardHandler)), plinth.WithContent(
			fmt.Appendf(nil, "plugins: { etcd: { isolation: %s } }\nstores: { a: { backend: { plugin: etcd, config: { endpoints: [%q], prefix: ours/%s/ } } } }", isolation, m.client, isolation)))
		if err != nil {
			return nil, err
		}
		s, err := h.Store("a")
		if err != nil {
			return nil, err
		}
		return &durable{
			load: func(from, to uint64) error {
				w := &storage.WriteSet{}
				for n := from; n < to; n++ {
					w.Ops = append(w.Ops, storage.Put(durableKey(n%etcdItems), durableValue(n)))
				}
				_, err := s.Apply(ctx, w)
				return err
			},
			set: func(n uint64) error { return s.Set(ctx, durableKey(n%etcdItems), durableValue(n)) },
			get: func(n uint64) error { _, err := s.Get(ctx, durableKey(n%etcdItems)); return err },
			scan: func(n uint64) error {
				for _, err := range s.Range(ctx, durableKey(n%etcdItems), nil, storage.RangeOptions{Limit: 100}) {
					if err != nil {
						return err
					}
				}
				return nil
			},
			Closer: closer(func() error { return h.Close(ctx) }),
		}, nil
	}
}
