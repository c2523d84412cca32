package server

import (
	"time"

	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/internal/gatekeeper"
	"github.com/plinthkv/plinth/secret"
)

// Listener configures the address, the authentication and the limits of a server of any
// protocol: this package's servers have one, and those of grpcserver. Zero fields have
// their defaults.
type Listener struct {
	Address string        // "host:port", or "unix:/path"; empty for a [Server.Handler] only
	Token   *secret.Value // bearer token that callers must send; optional
	// Cert and Key are PEM files; with them the listener serves TLS only. ClientCA, if
	// set, must have signed the certificates of callers.
	Cert, Key, ClientCA string

	HeaderBytes     int           // of a request; by default 16 KiB
	HeaderTimeout   time.Duration // to connect, and to send the header; by default 5 s
	WriteTimeout    time.Duration // for a caller to read a part of the answer; by default 30 s
	IdleTimeout     time.Duration // of a connection between requests; by default 2 min
	MaxOps          int           // ops and checks of an apply; by default 10,000
	MaxKeys         int           // keys of a get of several; by default 1,000
	MaxConcurrent   int           // requests at once; by default 1,024
	ShutdownDelay   time.Duration // from "not ready" to refusing new requests; by default none
	ShutdownTimeout time.Duration // for requests to finish; by default 15 s
}

// WithDefaults returns l with all defaults set.
func (l Listener) WithDefaults() Listener {
	defaults(map[*time.Duration]time.Duration{&l.HeaderTimeout: 5 * time.Second, &l.WriteTimeout: 30 * time.Second,
		&l.IdleTimeout: 2 * time.Minute, &l.ShutdownTimeout: 15 * time.Second})
	defaults(map[*int]int{&l.HeaderBytes: 16 << 10, &l.MaxOps: 10_000, &l.MaxKeys: 1_000, &l.MaxConcurrent: 1_024})
	return l
}

func defaults[N int | time.Duration](of map[*N]N) {
	for have, want := range of {
		if *have <= 0 {
			*have = want
		}
	}
}

// gatekeeper returns the address and the authentication of callers.
func (l *Listener) gatekeeper() gatekeeper.Gatekeeper {
	return gatekeeper.Gatekeeper{Address: l.Address, Token: l.Token, Cert: l.Cert, Key: l.Key, ClientCA: l.ClientCA}
}

// Memory limits the memory of requests and answers in flight, on all servers that share
// it. [NewMemory] makes it; nil has no limit.
type Memory = budget.Budget

// NewMemory returns a Memory of so many bytes, of which a client may use at most a
// quarter; by default 512 MiB.
func NewMemory(bytes int64) *Memory { return budget.New(bytes) }
