//go:build unix

package process

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/frames"
)

// attachTime limits how long a data socket waits for the host.
const attachTime = 10 * time.Second

// offer opens a data socket, which one connection with the token may use.
func (s *server) offer() (path string, token []byte, err error) {
	dir, err := os.MkdirTemp(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "data")
	if err != nil {
		return "", nil, err
	}
	path = filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	token = make([]byte, abi.TokenSize)
	rand.Read(token)
	go func() {
		conn, err := accept(l, token)
		l.Close()
		os.RemoveAll(dir)
		if err != nil {
			s.log.Error("the host did not connect to the data socket", "error", err)
			return
		}
		if err := s.answer(conn); err != nil {
			s.log.Error("data socket lost", "error", err)
		}
	}()
	return path, token, nil
}

// accept returns the connection that knows the token. Others are closed.
func accept(l *net.UnixListener, token []byte) (*net.UnixConn, error) {
	end := time.Now().Add(attachTime)
	if err := l.SetDeadline(end); err != nil {
		return nil, err
	}
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		got := make([]byte, len(token))
		err = conn.SetReadDeadline(end)
		if err == nil {
			err = frames.SameUser(conn)
		}
		if err == nil {
			_, err = io.ReadFull(conn, got)
		}
		if err == nil && subtle.ConstantTimeCompare(got, token) == 1 {
			return conn, conn.SetReadDeadline(time.Time{})
		}
		conn.Close()
	}
}

// answer answers what comes over the data socket, until the host closes it.
func (s *server) answer(unix *net.UnixConn) error {
	conn, err := frames.NewConn(unix)
	if err != nil {
		return errors.Join(err, unix.Close())
	}
	c := frames.ServerConfig{MaxFrame: s.maxFrame, Told: s.tell, New: func() frames.Answerer { return framed{s.newAnswerer(!s.quick)} }}
	if !s.quick {
		c.Workers = workersPerCore * runtime.GOMAXPROCS(0)
	}
	return frames.Serve(conn, c)
}

// workersPerCore limits how many calls of a backend that waits may be under way: far more
// than there are cores, for most of them do nothing but wait.
const workersPerCore = 32
