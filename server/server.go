package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/internal/failures"
	"github.com/plinthkv/plinth/internal/gatekeeper"
	"github.com/plinthkv/plinth/storage"
)

// Server serves stores over HTTP. It is safe for concurrent use.
type Server struct {
	config     Config
	settings   Settings
	gatekeeper gatekeeper.Gatekeeper
	guard      *gatekeeper.Guard
	tls        *tls.Config
	rules      atomic.Pointer[rules]
	slots      chan struct{}   // one per request that runs
	followers  chan struct{}   // one per request that waits for changes
	serving    context.Context // ends when the server is to end
	endServing context.CancelFunc
	failures   failures.Log
	draining   atomic.Bool
	address    atomic.Pointer[string]
	origins    *http.CrossOriginProtection
	tells      *telemetry

	onlyProbes bool // it is one of NewProbes
}

// New returns a server, or an error if the configuration is invalid. An address beyond
// loopback requires TLS, and a token or client certificates. Without an address, the server
// is only a [Server.Handler].
func New(c Config, s Settings) (*Server, error) {
	c.defaults()
	if s.Log == nil {
		s.Log = slog.Default()
	}
	d := c.gatekeeper()
	var t *tls.Config
	var err error
	switch {
	case c.Address == "" && c.Cert+c.Key+c.ClientCA != "":
		return nil, errors.New("certificates require an address: without one, the server of the handler configures TLS")
	case c.Address != "":
		if err := d.Check(); err != nil {
			return nil, err
		}
		if t, err = d.TLS(s.Log, "h2", "http/1.1"); err != nil {
			return nil, err
		}
	}
	guard := &gatekeeper.Guard{Log: s.Log}
	tells, err := newTelemetry(s, t != nil, guard)
	if err != nil {
		return nil, err
	}
	return newServer(c, s, tells, guard, t), nil
}

// newServer puts together what is right.
func newServer(c Config, s Settings, tells *telemetry, guard *gatekeeper.Guard, t *tls.Config) *Server {
	srv := &Server{config: c, settings: s, failures: failures.Log{To: s.Log}, gatekeeper: c.gatekeeper(), guard: guard, tls: t, tells: tells, slots: make(chan struct{}, c.MaxConcurrent), origins: http.NewCrossOriginProtection()}
	srv.followers = make(chan struct{}, followersPerRequest*c.MaxConcurrent)
	srv.serving, srv.endServing = context.WithCancel(context.Background())
	srv.Update(c, s.Stores)
	return srv
}

// scheme has the forms of addresses.
var scheme = gatekeeper.Scheme{Plain: "http://", TLS: "https://", Unix: "unix:"}

// Listen opens the configured address. A unix socket is accessible only to this user. A stale
// socket of an earlier server is replaced; a socket in use is an error.
func (s *Server) Listen() (net.Listener, error) {
	l, address, err := s.gatekeeper.Listen(scheme)
	if err == nil {
		s.address.Store(&address)
	}
	return l, err
}

// Adopt sets the address of the server to that of l, a listener that was opened elsewhere,
// for example by a service manager, and will be passed to Serve. An address beyond loopback
// requires TLS, and a token or client certificates.
func (s *Server) Adopt(l net.Listener) error {
	if s.onlyProbes { // which may be anywhere
		address := scheme.Of(l.Addr(), false)
		s.address.Store(&address)
		return nil
	}
	address, err := s.gatekeeper.Adopt(l, scheme)
	if err == nil {
		s.address.Store(&address)
	}
	return err
}

// Address returns the address of the server after Listen or Adopt, such as
// "http://127.0.0.1:7421".
func (s *Server) Address() string {
	if a := s.address.Load(); a != nil {
		return *a
	}
	return ""
}

// Serve serves requests on l until ctx ends. Then it is no longer ready, accepts no new
// requests, waits for those in flight for at most the configured time, and closes the
// remaining connections.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if s.tls != nil {
		l = tls.NewListener(l, s.tls)
	}
	unheard := &silent{}
	web := s.web()
	web.ConnState = unheard.state
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.draining.Store(true)
	s.endServing()
	if err := stillServing(s.config.ShutdownDelay, failed); err != nil {
		return err
	}
	s.settings.Log.Info("shutting down", "timeout", s.config.ShutdownTimeout)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.ShutdownTimeout)
	defer cancel()
	unheard.end()
	err := web.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.Join(fmt.Errorf("some requests did not finish within %s and were cut off", s.config.ShutdownTimeout), web.Close())
	}
	<-failed
	return err
}

// stillServing waits while those who are to send no more requests hear of it.
func stillServing(delay time.Duration, failed <-chan error) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case err := <-failed:
		return err
	case <-timer.C:
		return nil
	}
}

// web returns the HTTP server.
func (s *Server) web() *http.Server {
	web := &http.Server{
		Handler:           s.Handler(),
		ConnContext:       withConn,
		ReadHeaderTimeout: s.config.HeaderTimeout,
		IdleTimeout:       s.config.IdleTimeout,
		MaxHeaderBytes:    s.config.HeaderBytes,

		DisableGeneralOptionsHandler: true, // OPTIONS * passes the same checks as other requests
		ErrorLog:                     log.New(s.failures.Writer(), "", 0),
	}
	if s.onlyProbes {
		web.ReadTimeout = s.config.HeaderTimeout // requests have no body
		return web
	}
	s.http2(web)
	return web
}

// Handler returns the server without a listener, for a mux of the caller's own:
//
//	mux.Handle("/kv/", http.StripPrefix("/kv", srv.Handler()))
//
// Its paths are those of docs/http.md. A mux redirects paths that it cleans: a key with
// "//" or "/../" in it is sent with %2F for the slash, or as key64. How long a caller may take
// for its header, and how connections end, is up to the caller's http.Server.
func (s *Server) Handler() http.Handler {
	return s.tells.observed(func(w http.ResponseWriter, r *http.Request) {
		if err := s.dispatch(w, r); err != nil {
			s.fail(w, r, err)
		}
		s.patience(w) // for what is still in net/http's buffers
	})
}

// patience gives a caller the time to take a part of an answer, from now on.
func (s *Server) patience(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.config.WriteTimeout)) // not every test's writer has one
}

// dispatch checks a request, in order: host, origin, who it is,
// how many there are.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) error {
	if s.onlyProbes {
		return s.dispatchProbes(w, r)
	}
	if probe, ok := probes[r.URL.Path]; ok { // whatever its Host: who asks has no name for this server
		return s.probe(w, r, probe)
	}
	if !s.knownHost(r) {
		return httpError(http.StatusForbidden, "permission_denied", "Host not allowed: add it to server.hosts")
	}
	if !sameSite(r) || s.origins.Check(r) != nil {
		return errOtherSite()
	}
	if strings.HasPrefix(r.URL.Path, adminPath) && s.settings.Admin != nil {
		return s.administer(w, r)
	}
	if !s.known(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		return storage.Errorf(storage.Unauthenticated, "bearer token required")
	}
	if r.URL.Path == metricsPath && s.settings.Metrics != nil {
		s.settings.Metrics.ServeHTTP(w, r) // not counted below, because it shows why there are too many
		return nil
	}
	in, err := s.enter(r)
	if err != nil {
		return err
	}
	defer in.leave()
	return s.route(w, r, in)
}

// sameSite reports whether a request is none that a page of another site had its visitor's
// browser send.
func sameSite(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site == "" || site == "same-origin" || site == "none"
}

func errOtherSite() error {
	return httpError(http.StatusForbidden, "permission_denied", "cross-origin requests are refused")
}

// known reports whether a request has the token that it needs. One that is wrong costs
// time.
func (s *Server) known(r *http.Request) bool {
	authorization := r.Header.Get("Authorization")
	if s.now().gatekeeper.Admits(authorization) {
		return true
	}
	if authorization != "" {
		s.guard.Failed(r.Context(), r.RemoteAddr)
	}
	return false
}

// knownHost reports whether a request's Host is loopback's, the address that its connection
// came to, or a configured one. Another is that of a page that had its name lead here, to
// read what its visitor may.
func (s *Server) knownHost(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	if a, err := netip.ParseAddr(host); err == nil && (a.IsLoopback() || a.Unmap() == localAddress(r)) {
		return true
	}
	hosts := s.now().hosts
	return hosts == nil || hosts[host]
}

// localAddress returns the one that a request's connection came to; none for a unix socket.
func localAddress(r *http.Request) netip.Addr {
	if tcp, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
