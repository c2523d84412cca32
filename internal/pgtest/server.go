//go:build unix

package pgtest

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
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server runs a PostgreSQL on a loopback port, with files of its own. Start, Stop and Crash
// may be called by one goroutine at a time.
type Server struct {
	bin, dir string
	port     int
	as       *syscall.Credential // if nil, as the user who runs the test
	options  []string

	mu     sync.Mutex
	daemon *exec.Cmd
	own    *pgx.Conn // for Exec
	ended  chan struct{}
}

// New makes the files of a server, which Remove removes. Options are settings, such as "fsync=off".
func New(options ...string) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "plinth-postgres-")
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir, options: options}
	if err := s.init(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func (s *Server) init() error {
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
	port, err := freePort()
	if err != nil {
		return err
	}
	s.port = port
	// A password is asked for from one user alone, whom tests create.
	cmd := s.command("initdb", "-D", filepath.Join(s.dir, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	hba := "host all secretive all scram-sha-256\nhost all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n"
	return os.WriteFile(filepath.Join(s.dir, "data", "pg_hba.conf"), []byte(hba), 0o600)
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.as}
	endWithUs(cmd.SysProcAttr)
	return cmd
}

// Start starts the server and waits until it answers.
func (s *Server) Start() error {
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
		conn, err := pgx.Connect(context.Background(), s.DSN("postgres"))
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

// Stop ends the server: SIGINT disconnects clients, SIGQUIT has it recover afterwards, SIGKILL
// says nothing even to its children, which notice.
func (s *Server) Stop(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.daemon == nil {
		return
	}
	if s.own != nil {
		_ = s.own.Close(context.Background()) // the server goes anyway
		s.own = nil
	}
	_ = s.daemon.Process.Signal(sig)
	<-s.ended
	if sig == syscall.SIGKILL {
		_ = syscall.Kill(-s.daemon.Process.Pid, syscall.SIGKILL)
	}
	s.daemon = nil
}

// Crash kills the server with all its processes, and starts it again.
func (s *Server) Crash() error {
	s.Stop(syscall.SIGKILL)
	return s.Start()
}

// Remove ends the server, if it runs, and removes its files.
func (s *Server) Remove() {
	s.Stop(syscall.SIGQUIT)
	_ = os.RemoveAll(s.dir) // what is left of it is in the system's folder for that
}

// DSN returns how a database of the server is reached, by its owner.
func (s *Server) DSN(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
}

// Standby makes the files of a server that follows this one, which is stopped meanwhile.
func (s *Server) Standby() (*Server, error) {
	s.Stop(syscall.SIGINT)
	dir, err := os.MkdirTemp("", "plinth-postgres-")
	if err != nil {
		return nil, err
	}
	other := &Server{bin: s.bin, dir: dir, as: s.as, options: append([]string{fmt.Sprintf("primary_conninfo=host=127.0.0.1 port=%d user=postgres", s.port)}, s.options...)}
	if out, err := exec.Command("cp", "-a", s.dir+"/.", dir).CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("copying: %w: %s", err, out), os.RemoveAll(dir))
	}
	err = os.WriteFile(filepath.Join(dir, "data", "standby.signal"), nil, 0o600)
	if err == nil {
		other.port, err = freePort()
	}
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return other, nil
}

// freePort returns a port without a listener.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// Port returns where the server listens, also while it does not run.
func (s *Server) Port() int { return s.port }

// Exec does a statement as the owner of everything.
func (s *Server) Exec(ctx context.Context, text string, args ...any) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own == nil || s.own.IsClosed() {
		if s.own, err = pgx.Connect(ctx, s.DSN("postgres")); err != nil {
			return err
		}
	}
	_, err = s.own.Exec(ctx, text, args...)
	return err
}

// Gone waits until no client of that application_name is connected: what one that was killed has
// sent is done before its connection ends.
func (s *Server) Gone(ctx context.Context, name string) error {
	return s.Exec(ctx, fmt.Sprintf(`do $$ begin
		while exists (select from pg_stat_activity where application_name = '%s') loop
			perform pg_sleep(0.002);
			perform pg_stat_clear_snapshot();
		end loop; end $$`, name))
}

// Empty empties the store in a table, if there is one. That takes a tenth of the time of
// creating another.
func (s *Server) Empty(ctx context.Context, table string) error {
	err := s.Exec(ctx, fmt.Sprintf(`do $$ begin
		if to_regclass('%[1]s') is not null then
			delete from %[1]s; delete from %[1]s_ids; delete from %[1]s_log where version < (select max(version) from %[1]s_log);
		end if; end $$`, table))
	if err != nil {
		return fmt.Errorf("emptying %s: %w", table, err)
	}
	return nil
}
