package server

import (
	"net"
	"net/http"
	"sync"
)

// silent tracks the connections that have not asked for anything yet: net/http waits for
// those when it ends, as for requests.
type silent struct {
	mu    sync.Mutex
	open  map[net.Conn]struct{}
	ended bool
}

// state notes what net/http says of a connection.
func (s *silent) state(c net.Conn, now http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case now != http.StateNew:
		delete(s.open, c)
	case s.ended:
		c.Close()
	default:
		if s.open == nil {
			s.open = map[net.Conn]struct{}{}
		}
		s.open[c] = struct{}{}
	}
}

// end closes them, now and later.
func (s *silent) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for c := range s.open {
		c.Close()
	}
}
