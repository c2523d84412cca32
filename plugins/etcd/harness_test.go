//go:build unix

package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/etcdtest"
	"github.com/plinthkv/plinth/sdk"
)

var silent = slog.New(slog.DiscardHandler)

// member is one server of a cluster.
type member struct {
	name       string
	dir        string
	scheme     string
	client     string // where it is reached, HOST:PORT
	peer       string
	advertised string // where its peers reach it
	initial    string // the cluster, as its members are configured
	more       []string
	cmd        *exec.Cmd
	out        *bytes.Buffer
}

// The servers do not sync, for speed: what is tested is the client, and processes that are
// killed lose nothing that the system has.
func (m *member) start(t testing.TB) {
	t.Helper()
	path, err := etcdtest.Path()
	if err != nil {
		t.Fatal(err)
	}
	m.out = &bytes.Buffer{}
	m.cmd = exec.Command(path, append([]string{"--name", m.name, "--data-dir", m.dir, "--unsafe-no-fsync",
		"--listen-client-urls", m.scheme + m.client, "--advertise-client-urls", m.scheme + m.client,
		"--listen-peer-urls", "http://" + m.peer, "--initial-advertise-peer-urls", "http://" + m.advertised,
		"--initial-cluster", m.initial, "--heartbeat-interval", "50", "--election-timeout", "500",
		"--log-level", "error", "--snapshot-count", "5000"}, m.more...)...)
	m.cmd.Stdout, m.cmd.Stderr = m.out, m.out
	m.cmd.Env = append(os.Environ(), "GOGC=400")
	m.cmd.SysProcAttr = etcdtest.Dies()
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// stop ends the server with a signal, and waits for it.
func (m *member) stop(with syscall.Signal) {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Signal(with) // it may have ended
	_ = m.cmd.Wait()               // with what it was ended by
	m.cmd = nil
}

func (m *member) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

type cluster struct {
	members []*member
	change  []func(map[string]any) // of all stores on it
}

// newCluster starts so many members, and ends them with the test.
func newCluster(t testing.TB, n int, more ...string) *cluster {
	t.Helper()
	c := prepared(t, n, more...)
	c.start(t)
	return c
}

// prepared is a cluster that has not been started: its members may still be changed.
func prepared(t testing.TB, n int, more ...string) *cluster {
	t.Helper()
	c := &cluster{}
	dir := t.TempDir()
	for i := range n {
		m := &member{scheme: "http://", name: fmt.Sprintf("m%d", i), dir: filepath.Join(dir, fmt.Sprint(i)), client: freeAddr(t), peer: freeAddr(t), more: more}
		m.advertised = m.peer
		c.members = append(c.members, m)
	}
	return c
}

func (c *cluster) start(t testing.TB) {
	t.Helper()
	var initial []string
	for _, m := range c.members {
		initial = append(initial, m.name+"=http://"+m.advertised)
	}
	t.Cleanup(func() {
		for _, m := range c.members {
			if m.cmd != nil {
				_ = m.cmd.Process.Signal(syscall.SIGCONT) // it may have ended
			}
			m.stop(syscall.SIGKILL)
		}
	})
	for _, m := range c.members {
		m.initial = strings.Join(initial, ",")
		m.start(t)
	}
	c.ready(t)
}

// ready waits until the cluster serves.
func (c *cluster) ready(t testing.TB) {
	t.Helper()
	until := time.Now().Add(time.Minute)
	for {
		b, err := Open(context.Background(), c.env("ready/", nil))
		if err == nil {
			_ = b.Close(context.Background()) // it was open
			return
		}
		if time.Now().After(until) {
			t.Fatalf("the cluster does not serve: %v\n%s", err, c.members[0].out)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// forKit starts a member for the kit. While it runs nothing is collected: that is a write, and
// the versions of a store are those of all writes to its cluster.
func forKit(t *testing.T) *cluster {
	c := prepared(t, 1)
	c.change = append(c.change, func(m map[string]any) { m["grace"] = "1h" })
	c.start(t)
	return c
}

// endpoints are the members' addresses.
func (c *cluster) endpoints() (all []string) {
	for _, m := range c.members {
		all = append(all, m.scheme+m.client)
	}
	return all
}

// env is that of a store, with some of its settings changed.
func (c *cluster) env(prefix string, clock func() time.Time, change ...func(map[string]any)) sdk.Env {
	return envOf(c.endpoints(), prefix, clock, append(c.change, change...)...)
}

func envOf(endpoints []string, prefix string, clock func() time.Time, change ...func(map[string]any)) sdk.Env {
	m := map[string]any{"endpoints": endpoints, "prefix": prefix}
	for _, f := range change {
		f(m)
	}
	config, _ := json.Marshal(m) // it is of texts
	return sdk.Env{Config: config, Now: clock, Log: silent}
}

// open opens a store, and closes it with the test.
func (c *cluster) open(t testing.TB, prefix string, change ...func(map[string]any)) *Backend {
	t.Helper()
	b, err := Open(context.Background(), c.env(prefix, nil, change...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b.(*Backend)
}

// leader is the member that leads.
func (c *cluster) leader(t testing.TB, b *Backend) *member {
	t.Helper()
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		for _, m := range c.members {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			s, err := b.client.Status(ctx, "http://"+m.client)
			cancel()
			if err == nil && s.Leader == s.Header.MemberId {
				return m
			}
		}
	}
	t.Fatal("there is no leader")
	return nil
}

// freeAddr is one that nothing listens at. It is below those that systems give to clients,
// so that none of those takes it before the server does, or while that is being restarted.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close() // it is the server's
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

var prefixes atomic.Int64

// aPrefix is one that no other test has.
func aPrefix() string { return fmt.Sprintf("test/%d/", prefixes.Add(1)) }
