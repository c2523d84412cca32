package server

import (
	"time"

	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/internal/door"
)

// Listener is where a server listens, who may come in, and what any of them may ask for,
// whatever the protocol: this package's servers have one, and those of grpcserver. Zero
// fields are the defaults.
type Listener struct {
	Address string // "host:port", or "unix:/path"; empty for a [Server.Handler] alone
	Token   string // the bearer token that callers must send; none if empty
	// Cert and Key are PEM files; with them the listener speaks TLS alone. ClientCA, if
	// set, must have signed a caller's certificate.
	Cert, Key, ClientCA string

	HeaderBytes     int           // of a request; by default 16 KiB
	HeaderTimeout   time.Duration // to connect, and to send the header; by default 5 s
	WriteTimeout    time.Duration // for a caller to take a part of the answer; by default 30 s
	IdleTimeout     time.Duration // of a connection between requests; by default 2 min
	MaxOps          int           // ops and checks of an apply; by default 10,000
	MaxKeys         int           // keys of a get of several; by default 1,000
	MaxConcurrent   int           // requests at once; by default 1,024
	ShutdownDelay   time.Duration // from the begin of the end, when it is no longer ready, until it takes no new requests; by default none
	ShutdownTimeout time.Duration // for requests to finish; by default 15 s
}

// WithDefaults returns l with something in each field that has a default.
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

// door is the address and who may come in.
func (l *Listener) door() door.Door {
	return door.Door{Address: l.Address, Token: l.Token, Cert: l.Cert, Key: l.Key, ClientCA: l.ClientCA}
}

// Memory is what requests and answers in flight may take together, on all servers that
// are handed the same one. [NewMemory] makes it; nil has no bound.
type Memory = budget.Budget

// NewMemory returns a Memory of so many bytes, of which a client has a quarter at most; by
// default 512 MiB.
func NewMemory(bytes int64) *Memory { return budget.New(bytes) }
