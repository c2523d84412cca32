package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// testServer is a PostgreSQL on a loopback port, with files of its own.
type testServer struct {
	bin, dir string
	port     int
	as       *syscall.Credential // nil: as who runs the test
	options  []string

	mu     sync.Mutex
	daemon *exec.Cmd
	ended  chan struct{}
}

// newServer makes the files of a server.
func newServer(options ...string) (*testServer, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "plinth-postgres-")
	if err != nil {
		return nil, err
	}
	s := &testServer{bin: bin, dir: dir, options: options}
	if err := s.init(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func (s *testServer) init() error {
	if os.Getuid() == 0 { // initdb refuses it
		u, err := user.Lookup("postgres")
		if err != nil {
			if u, err = user.Lookup("nobody"); err != nil {
				return err
			}
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.dir, uid, gid); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return err
	}
	// The password is asked for by one user alone.
	cmd := s.command("initdb", "-D", filepath.Join(s.dir, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	hba := "host all secretive all scram-sha-256\nhost all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n"
	return os.WriteFile(filepath.Join(s.dir, "data", "pg_hba.conf"), []byte(hba), 0o600)
}

func (s *testServer) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.as}
	endWithUs(cmd.SysProcAttr)
	return cmd
}

// start starts the server and waits until it answers.
func (s *testServer) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	args := []string{"-D", filepath.Join(s.dir, "data"), "-p", strconv.Itoa(s.port), "-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200",
		"-c", "log_min_messages=fatal", "-c", "log_min_error_statement=panic"}
	for _, o := range s.options {
		args = append(args, "-c", o)
	}
	cmd := s.command("postgres", args...)
	var said strings.Builder
	cmd.Stderr = &said
	started := make(chan error)
	ended := make(chan struct{})
	go func() { // the thread that starts it has to live as long: the system ends it with that
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is ended by us
		}
		close(ended)
	}()
	if err := <-started; err != nil {
		return err
	}
	s.daemon, s.ended = cmd, ended
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		conn, err := pgx.Connect(context.Background(), s.dsn("postgres"))
		if err == nil {
			return conn.Close(context.Background())
		}
		select {
		case <-ended:
			return fmt.Errorf("the server ended: %s", said.String())
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("the server does not answer: %w: %s", err, said.String())
		}
	}
}

// stop ends the server: SIGINT disconnects clients, SIGQUIT has it recover afterwards, SIGKILL
// says nothing even to its children, which notice.
func (s *testServer) stop(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.daemon == nil {
		return
	}
	_ = s.daemon.Process.Signal(sig)
	<-s.ended
	if sig == syscall.SIGKILL {
		_ = syscall.Kill(-s.daemon.Process.Pid, syscall.SIGKILL)
	}
	s.daemon = nil
}

// crash kills the server with all its processes, and starts it again.
func (s *testServer) crash() error {
	s.stop(syscall.SIGKILL)
	return s.start()
}

func (s *testServer) remove() {
	s.stop(syscall.SIGQUIT)
	_ = os.RemoveAll(s.dir) // what is left of it is in the system's folder for that
}

func (s *testServer) dsn(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
}

// programs is the folder of PostgreSQL's programs: of the first postgres in PATH, or where
// Debian has them, or one that is fetched.
func programs() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil && has(filepath.Dir(path)) {
			return filepath.Dir(path), nil
		}
	}
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.Sort(dirs)
	for _, dir := range slices.Backward(dirs) {
		if has(dir) {
			return dir, nil
		}
	}
	return fetched()
}

func has(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "initdb"))
	return err == nil
}

// shared is the server of most tests, which is started when one asks for it.
var shared struct {
	once   sync.Once
	server *testServer
	err    error
}

const sharedDSN = "PLINTH_TEST_POSTGRES"

// server is the one that tests share: nobody restarts it.
func server(t testing.TB) *testServer {
	t.Helper()
	shared.once.Do(func() {
		if shared.server, shared.err = newServer(); shared.err == nil {
			shared.err = shared.server.start()
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// ownServer is one of a test's own.
func ownServer(t testing.TB, options ...string) *testServer {
	t.Helper()
	s, err := newServer(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.remove)
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	return s
}

var tableNumber atomic.Int64

// freshTable is a name that no other test has.
func freshTable() string { return fmt.Sprintf("t%d_%d", os.Getpid(), tableNumber.Add(1)) }

// exec does a statement as the owner of everything.
func (s *testServer) exec(t testing.TB, text string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), s.dsn("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), text, args...); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

