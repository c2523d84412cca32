// Package etcdtest runs a real etcd for tests and benchmarks, on loopback ports and in a
// folder of its own.
//
// This package builds, starts and ends a server. Its callers know what to ask it.
package etcdtest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Path builds the server, once for each version of it: a module of its own below
// plugins/etcd, which no other module sees. Its vet is here, for the same reason.
// PLINTH_ETCD names another server, such as an older one.
var Path = sync.OnceValues(func() (string, error) {
	if other := os.Getenv("PLINTH_ETCD"); other != "" {
		return other, nil
	}
	_, here, _, _ := runtime.Caller(0)
	module := filepath.Join(filepath.Dir(here), "..", "..", "plugins", "etcd", "internal", "server")
	sum := sha256.New()
	for _, file := range []string{"go.mod", "go.sum", "main.go"} {
		b, err := os.ReadFile(filepath.Join(module, file))
		if err != nil {
			return "", err
		}
		sum.Write(b)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "plinth-test")
	path := filepath.Join(dir, fmt.Sprintf("etcd-%x", sum.Sum(nil)[:8]))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	built := fmt.Sprintf("%s.%d", path, os.Getpid())
	for _, args := range [][]string{{"vet", "."}, {"build", "-trimpath", "-o", built, "."}} {
		cmd := exec.Command("go", args...)
		cmd.Dir, cmd.Env = module, append(os.Environ(), "GOFLAGS=", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go %s in %s: %w\n%s", strings.Join(args, " "), module, err, out)
		}
	}
	return path, os.Rename(built, path)
})

// Server runs a cluster of one member.
type Server struct {
	Endpoint string // where clients reach it

	cmd *exec.Cmd
	out bytes.Buffer
}

// Start starts a server that keeps its data in dir and does not sync it, and waits until it
// listens. The caller stops it.
func Start(dir string) (*Server, error) {
	path, err := Path()
	if err != nil {
		return nil, err
	}
	client, peer, err := twoPorts()
	if err != nil {
		return nil, err
	}
	s := &Server{Endpoint: "http://" + client}
	s.cmd = exec.Command(path, "--name", "m", "--data-dir", dir, "--unsafe-no-fsync",
		"--listen-client-urls", s.Endpoint, "--advertise-client-urls", s.Endpoint,
		"--listen-peer-urls", "http://"+peer, "--initial-advertise-peer-urls", "http://"+peer,
		"--initial-cluster", "m=http://"+peer, "--heartbeat-interval", "50", "--election-timeout", "500", "--log-level", "error")
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	s.cmd.SysProcAttr = Dies()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", client); err == nil {
			return s, c.Close()
		}
	}
	s.Stop()
	return nil, errors.New("the server does not listen: " + s.out.String())
}

// Stop kills the server, and waits for it.
func (s *Server) Stop() {
	_ = s.cmd.Process.Kill() // it may have ended
	_ = s.cmd.Wait()         // with what it was ended by
}

// twoPorts returns addresses of loopback that were free a moment ago.
func twoPorts() (a, b string, err error) {
	one, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer one.Close()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer other.Close()
	return one.Addr().String(), other.Addr().String(), nil
}
