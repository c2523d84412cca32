package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/examples/authz/control"
	"github.com/plinthkv/plinth/examples/authz/engine"
	"github.com/plinthkv/plinth/examples/authz/token"
	"github.com/plinthkv/plinth/host"
	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
)

// kind is a backend: a configuration, and how its plugin is reached.
type kind struct{ file, carrier string }

// kinds are the backends that all tests run on: memory as a WebAssembly module, and a folder.
var kinds = map[string]kind{
	"memory": {"authz.yaml", host.CarrierWasm},
	"pebble": {"authz-pebble.yaml", host.CarrierNative},
}

// tests counts services, for those that share a server.
var tests atomic.Int64

// onEach runs a test on every backend.
func onEach(t *testing.T, run func(t *testing.T, kind string)) {
	for name := range kinds {
		t.Run(name, func(t *testing.T) { run(t, name) })
	}
}

// servers are backends that others_test.go starts: what their line in authz.yaml is, with a
// number for each service.
var servers = map[string]string{}

// options are how a test's service differs from the one that main starts.
type options struct {
	tracer trace.TracerProvider
	limits engine.Limits
	set    map[string]string // of the configuration
	dir    string            // of pebble; by default a new one
	now    func() time.Time
	flying int // requests at once; by default those of main
	// operator is that of an earlier service on the same folder; if nil, a new one.
	operator *client
}

// world is a running service and its operator.
type world struct {
	*service
	t        testing.TB
	url      string
	operator client
}

// start starts a service with the file of a kind. Its organizations have tokens enough,
// unless the test sets them.
func start(t testing.TB, kind string, o options) *world {
	t.Helper()
	file, carrier := kinds[kind].file, kinds[kind].carrier
	if file == "" { // a server
		file, carrier = kinds["memory"].file, host.CarrierNative
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	if line, ok := servers[kind]; ok {
		raw = bytes.Replace(raw, []byte("plugin: memory, config: { max_bytes: 256MiB }"), []byte(fmt.Sprintf(line, tests.Add(1))), 1)
	}
	set := map[string]string{"stores.authz.pipeline.rate_limit.rate": "1000000", "stores.authz.pipeline.rate_limit.burst": "10000000"}
	if kind == "pebble" {
		set["plugins.pebble.grants.dir"] = o.dir
	}
	maps.Copy(set, o.set)
	cache, err := os.UserCacheDir()
	if cache = filepath.Join(cache, "plinth-test", "compiled"); err != nil || wasmhost.CheckCacheDir(cache) != nil {
		cache = t.TempDir()
	}
	opts := append(backends(), plinth.WithContent(raw), plinth.WithOverrides(set), plinth.WithCacheDir(cache))
	cfg, err := plinth.Load(file, opts...)
	if err != nil {
		t.Fatal(err)
	}
	if o.limits == (engine.Limits{}) {
		o.limits = engine.DefaultLimits()
	}
	log, before := slog.New(slog.DiscardHandler), goleak.IgnoreCurrent()
	sv, err := newService(t.Context(), cfg, settings{log: log, tracer: o.tracer, limits: o.limits, now: o.now, bound: time.Hour, flying: o.flying}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{service: sv, t: t}
	web := httptest.NewServer(sv.router)
	w.url = web.URL
	t.Cleanup(func() {
		web.Close()
		if err := sv.close(context.Background()); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
		goleak.VerifyNone(t, before)
	})
	if s, _ := sv.host.Store("authz"); s.Carrier() != carrier {
		t.Fatalf("the store of %s is reached by %s", kind, s.Carrier())
	}
	w.operator = w.newClient(control.System, token.Control, operatorKid)
	if o.operator != nil {
		w.operator.key = o.operator.key
	}
	if err := sv.firstOperator(t.Context(), w.operator.public()); err != nil {
		t.Fatal(err)
	}
	return w
}

// client calls an API with tokens of one key.
type client struct {
	w             *world
	org           identity.OrganizationSlug
	audience, kid string
	key           ed25519.PrivateKey
}

func (w *world) newClient(org identity.OrganizationSlug, audience, kid string) client {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return client{w, org, audience, kid, private}
}

func (c client) public() auth.PublicKey {
	return auth.PublicKey(c.key.Public().(ed25519.PublicKey))
}

func (c client) token() string {
	signed, err := token.Sign(c.key, c.kid, c.org, c.audience, "test", time.Now(), time.Minute)
	if err != nil {
		c.w.t.Error(err)
	}
	return signed
}

// answer is what a request came to.
type answer struct {
	status int
	header http.Header
	body   map[string]any
}

func (a answer) text(name string) string { text, _ := a.body[name].(string); return text }

// do sends a request with the client's token. It may be called from any goroutine.
func (c client) do(method, path string, body any, headers ...string) answer {
	return c.w.send(method, path, body, append([]string{"Authorization", "Bearer " + c.token()}, headers...)...)
}

func (w *world) send(method, path string, body any, headers ...string) answer {
	raw, ok := body.(string)
	if !ok && body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			w.t.Error(err)
		}
		raw = string(encoded)
	}
	req, err := http.NewRequest(method, w.url+path, bytes.NewReader([]byte(raw)))
	if err != nil {
		w.t.Error(err)
		return answer{}
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Error(err)
		return answer{}
	}
	defer res.Body.Close()
	a := answer{status: res.StatusCode, header: res.Header}
	if err := json.NewDecoder(res.Body).Decode(&a.body); err != nil && !errors.Is(err, io.EOF) {
		w.t.Errorf("%s %s: %d: %v", method, path, res.StatusCode, err)
	}
	return a
}

// must fails the test if a request does not come to a status.
func (a answer) must(t testing.TB, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("%d %v, want %d", a.status, a.body, status)
	}
	return a
}

// tenant is an organization with one vault, and a client for each API.
type tenant struct {
	org    string // its path in the Control API
	vault  string // its path in the Engine API
	admin  client
	engine client
}

func (w *world) tenant(name string) (x tenant) {
	w.t.Helper()
	made := w.operator.do(http.MethodPost, "/control/v1/organizations", map[string]string{"name": name}).must(w.t, http.StatusCreated)
	x.org = made.header.Get("Location")
	slug, err := identity.Parse[identity.OrganizationSlug](made.text("slug"))
	if err != nil {
		w.t.Fatal(err)
	}
	x.admin, x.engine = w.newClient(slug, token.Control, "admin"), w.newClient(slug, token.Engine, "engine")
	w.operator.register(x.org, x.admin).must(w.t, http.StatusCreated)
	x.admin.register(x.org, x.engine).must(w.t, http.StatusCreated)
	vault := x.admin.do(http.MethodPost, x.org+"/vaults", map[string]string{"name": "main"}).must(w.t, http.StatusCreated)
	x.vault = "/engine/v1/vaults/" + vault.text("slug")
	return x
}

// register adds the public key of another client.
func (c client) register(org string, other client) answer {
	return c.do(http.MethodPost, org+"/keys/"+other.audience, map[string]string{"kid": other.kid, "public_key": text(other.public())})
}

// tuple is a relationship in the Engine API.
type tuple struct {
	Object   string `json:"object"`
	Relation string `json:"relation"`
	Subject  string `json:"subject"`
}

type change struct {
	Write  []tuple     `json:"write,omitempty"`
	Delete []tuple     `json:"delete,omitempty"`
	If     *conditions `json:"if,omitempty"`
}

type conditions struct {
	Present []tuple `json:"present,omitempty"`
	Absent  []tuple `json:"absent,omitempty"`
}

func (x tenant) change(c change) answer {
	return x.engine.do(http.MethodPost, x.vault+"/relationships", c)
}

func (x tenant) check(object, relation, subject string) answer {
	return x.engine.do(http.MethodPost, x.vault+"/check", tuple{object, relation, subject})
}
