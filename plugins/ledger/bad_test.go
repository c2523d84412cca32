package ledger_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/plinthkv/plinth/internal/clock"
	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// silent takes connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { _, _ = io.Copy(io.Discard, c) })
			t.Cleanup(func() { c.Close() })
		}
	})
	t.Cleanup(func() { l.Close() })
	return "http://" + l.Addr().String()
}

// A configuration whose endpoints or slugs are wrong is refused with the place of
// what is, and soon.
func TestWhatCannotBeOpened(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	fresh := cluster(t, ledgertest.Options{Uninitialized: true})
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	empty := grpc.NewServer()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go empty.Serve(l)
	defer empty.Stop()
	for name, bad := range map[string]struct {
		endpoint            string
		organization, vault uint64
		code                storage.Code
		path, says          string
	}{
		"unknown organization":          {c.Endpoints()[0], 5, ledgertest.Vault, storage.InvalidArgument, "vault", "unknown organization or vault"},
		"unknown vault":                 {c.Endpoints()[0], ledgertest.Organization, 5, storage.InvalidArgument, "vault", "unknown organization or vault"},
		"vault of another organization": {c.Endpoints()[0], ledgertest.Organization, ledgertest.OtherVault, storage.InvalidArgument, "vault", "does not belong to the organization"},
		"a web server":                  {web.URL, ledgertest.Organization, ledgertest.Vault, storage.Unavailable, "endpoints", "cannot be reached"},
		"a gRPC server that is none":    {"http://" + l.Addr().String(), ledgertest.Organization, ledgertest.Vault, storage.InvalidArgument, "endpoints", "is not a Ledger server"},
		"nobody":                        {"http://127.0.0.1:1", ledgertest.Organization, ledgertest.Vault, storage.Unavailable, "endpoints", "cannot be reached"},
		"one that hangs":                {silent(t), ledgertest.Organization, ledgertest.Vault, storage.Timeout, "endpoints", "no answer in time"},
		"no socket":                     {"/nonexistent/socket", ledgertest.Organization, ledgertest.Vault, storage.Unavailable, "endpoints", "cannot be reached"},
		"a cluster that was not set up": {fresh.Endpoints()[0], ledgertest.Organization, ledgertest.Vault, storage.Unavailable, "endpoints", "never initialised"},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			_, err := configured(t, map[string]any{"endpoints": []string{bad.endpoint}, "organization": bad.organization, "vault": bad.vault,
				"timeouts": map[string]any{"read": "10s", "attempt": "1s"}, "retry": map[string]any{"attempts": 2, "initial": "1ms"}})
			e := wantCode(t, err, bad.code)
			if e.ConfigPath != bad.path || !strings.Contains(e.Error(), bad.says) {
				t.Errorf("at %q: %v", e.ConfigPath, e)
			}
			if took := time.Since(begin); took > 15*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// What no Write can be is refused before anything is sent.
func TestWhatCannotBeWritten(t *testing.T) {
	c := cluster(t, ledgertest.Options{Quirks: largePages()})
	b := open(t, c, largeValues)
	apply(t, b, storage.Put(bs("k"), bs("v")))
	before := height(t, c)
	sent := requests(c, "")
	most := b.Info().Limits.Value
	long, large := bytes.Repeat(bs("x"), 513), make([]byte, most+1)
	many := make([]storage.Op, 1001)
	for i := range many {
		many[i] = storage.Delete(fmt.Append(nil, i))
	}
	wide := make([]storage.Op, 900) // within the bytes that are counted, and beyond a message on the wire
	for i := range wide {
		wide[i] = storage.Put(append(fmt.Appendf(nil, "%04d", i), long[:500]...), make([]byte, (b.Info().Limits.WriteBytes-900*504)/900))
	}
	on := func(kind storage.CheckKind, key string) storage.Check { return storage.Check{Kind: kind, Key: bs(key)} }
	ranged := on(storage.CheckRange, "a")
	versioned := storage.HasVersion(bs("k"), 3)
	for name, bad := range map[string]struct {
		w    storage.WriteSet
		code storage.Code
		kind string
	}{
		"a key of 513 bytes":                   {storage.WriteSet{Ops: []storage.Op{storage.Put(long, nil)}}, storage.SizeLimit, "key"},
		"an empty key":                         {storage.WriteSet{Ops: []storage.Op{storage.Put(nil, bs("v"))}}, storage.InvalidArgument, ""},
		"an empty key to delete":               {storage.WriteSet{Ops: []storage.Op{storage.Put(bs("a"), nil), storage.Delete([]byte{})}}, storage.InvalidArgument, ""},
		"1001 operations":                      {storage.WriteSet{Ops: many}, storage.SizeLimit, "ops"},
		"a value over the limit":               {storage.WriteSet{Ops: []storage.Op{storage.Put(bs("k"), large)}}, storage.SizeLimit, "value"},
		"a message over the limit":             {storage.WriteSet{Ops: wide}, storage.SizeLimit, "message bytes"},
		"a value that is also expected":        {storage.WriteSet{Ops: []storage.Op{storage.Put(bs("k"), large[:most/2+most/4])}, Checks: []storage.Check{storage.HasValue(bs("k"), large[:most/2])}}, storage.SizeLimit, ""},
		"a check of a key that is not written": {storage.WriteSet{Checks: []storage.Check{on(storage.CheckPresent, "k")}, Ops: []storage.Op{storage.Put(bs("a"), nil)}}, storage.Unsupported, ""},
		"a check alone":                        {storage.WriteSet{Checks: []storage.Check{on(storage.CheckAbsent, "x")}}, storage.Unsupported, ""},
		"a check of a range":                   {storage.WriteSet{Checks: []storage.Check{ranged}, Ops: []storage.Op{storage.Put(bs("a"), nil)}}, storage.Unsupported, ""},
		"a check of a version":                 {storage.WriteSet{Checks: []storage.Check{versioned}, Ops: []storage.Op{storage.Put(bs("k"), nil)}}, storage.Unsupported, ""},
		"an ID":                                {storage.WriteSet{ID: [16]byte{1}, Ops: []storage.Op{storage.Put(bs("k"), nil)}}, storage.Unsupported, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.Apply(t.Context(), &bad.w)
			e := wantCode(t, err, bad.code)
			if bad.kind != "" && e.Limit.Kind != bad.kind {
				t.Errorf("the limit is %+v", e.Limit)
			}
			if e.Unknown || strings.Contains(e.Error(), "xxxx") {
				t.Errorf("the error is %v", e)
			}
		})
	}
	for name, err := range map[string]error{
		"a read of the empty key": func() error { _, err := b.Get(t.Context(), nil); return err }(),
		"reads of the empty key":  func() error { _, err := b.GetMany(t.Context(), [][]byte{bs("k"), {}}); return err }(),
	} {
		if storage.CodeOf(err) != storage.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := sent.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	c.Hook(ledgertest.Hooks{})
	if height(t, c) != before {
		t.Error("something was written")
	}
}

// The largest of everything is taken.
func TestWhatJustFits(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	b := open(t, c)
	l := b.Info().Limits
	key := bytes.Repeat([]byte{0xFF}, l.Key)
	value := bytes.Repeat(bs("v"), l.Value)
	apply(t, b, storage.Put(key, value))
	wantValue(t, b, string(key), string(value))
	if got := keys(t, b, key, nil); !slices.Equal(got, []string{string(key)}) {
		t.Errorf("a scan gives %d keys", len(got))
	}
}

// The host's clock jumps, and the server's does not.
func TestClockThatJumps(t *testing.T) {
	clock, server := storagetest.NewClock(), storagetest.NewClock()
	c := cluster(t, ledgertest.Options{Clock: server.Now})
	b := openAt(t, c, clock)
	s := storage.New(b, storage.Settings{Clock: clock.Now})
	set := func(key string) {
		t.Helper()
		if _, err := s.Put(t.Context(), bs(key), bs("v"), storage.WithTTL(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	set("a")
	clock.Advance(-100 * 365 * 24 * time.Hour) // before 1970
	set("b")
	if got := keys(t, b, nil, nil); !slices.Equal(got, []string{"a"}) {
		t.Errorf("%q are there: what ended before the epoch is at its end", got)
	}
	clock.Advance(100*365*24*time.Hour + 24*time.Hour)
	set("c")
	if got := keys(t, b, nil, nil); !slices.Equal(got, []string{"c"}) {
		t.Errorf("%q are there a day later", got)
	}
	wantValue(t, b, "a", "v") // to a read the server's clock counts
}

// The host's clock is an hour ahead for one call: an item that is set afterwards lives
// no shorter than it was given.
func TestClockThatIsSetBack(t *testing.T) {
	source, server := storagetest.NewClock(), storagetest.NewClock()
	host := clock.New(source.Now)
	c := cluster(t, ledgertest.Options{Clock: server.Now})
	b, err := ledger.New(t.Context(), settings(c), sdk.Env{Now: host.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(context.Background()) })
	s := storage.New(b, storage.Settings{Clock: host.Now})
	source.Advance(time.Hour)
	keys(t, b, nil, nil)
	source.Advance(-time.Hour)
	if _, err := s.Put(t.Context(), bs("k"), bs("v"), storage.WithTTL(10*time.Minute)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantValue(t, b, "k", "v")
		if got := keys(t, b, nil, nil); !slices.Equal(got, []string{"k"}) {
			t.Errorf("a scan gives %q", got)
		}
		source.Advance(9 * time.Minute)
		server.Advance(9 * time.Minute)
	}
}

func TestBadConfigurations(t *testing.T) {
	for name, bad := range map[string]struct {
		change     map[string]any
		path, says string
	}{
		"no endpoints":            {map[string]any{"endpoints": []string{}}, "endpoints", "empty"},
		"no URL":                  {map[string]any{"endpoints": []string{"127.0.0.1:50051"}}, "endpoints[0]", "begins neither"},
		"another scheme":          {map[string]any{"endpoints": []string{"http://a:1", "grpc://a:1"}}, "endpoints[1]", "begins neither"},
		"white space":             {map[string]any{"endpoints": []string{"http://a :1"}}, "endpoints[0]", "white space"},
		"no host":                 {map[string]any{"endpoints": []string{"http://:50051"}}, "endpoints[0]", "no host"},
		"a path":                  {map[string]any{"endpoints": []string{"http://a:1/x"}}, "endpoints[0]", "after its port"},
		"a password":              {map[string]any{"endpoints": []string{"http://user:hunter2@a:1"}}, "endpoints[0]", "a user or a password"},
		"twice the same":          {map[string]any{"endpoints": []string{"http://a:1", "http://a:1/"}}, "endpoints[1]", "twice"},
		"no organization":         {map[string]any{"organization": 0}, "organization", "required"},
		"no vault":                {map[string]any{"vault": 0}, "vault", "required"},
		"a negative slug":         {map[string]any{"vault": -1}, "vault", "not a uint64"},
		"a text for a slug":       {map[string]any{"organization": "main"}, "organization", "not a uint64"},
		"no such consistency":     {map[string]any{"read_consistency": "strong"}, "read_consistency", "neither"},
		"no page":                 {map[string]any{"page_size": 0}, "page_size", "from 1"},
		"no results":              {map[string]any{"max_range_results": -5}, "max_range_results", "from 1"},
		"an octal duration":       {map[string]any{"timeouts": map[string]any{"read": "05s"}}, "timeouts.read", "not a duration"},
		"no duration":             {map[string]any{"timeouts": map[string]any{"read": "5"}}, "timeouts.read", "not a duration"},
		"no time":                 {map[string]any{"timeouts": map[string]any{"list": "0s"}}, "timeouts.list", "more than 0"},
		"writes that never go":    {map[string]any{"timeouts": map[string]any{"write": "100ms"}}, "timeouts.write", "refuses writes"},
		"attempts that never go":  {map[string]any{"timeouts": map[string]any{"attempt": "50ms"}}, "timeouts.attempt", "refuses writes"},
		"no attempts":             {map[string]any{"retry": map[string]any{"attempts": 0}}, "retry.attempts", "from 1"},
		"waits that shrink":       {map[string]any{"retry": map[string]any{"max": "1ms"}}, "retry.max", "less than"},
		"waits that get less":     {map[string]any{"retry": map[string]any{"multiplier": 0.5}}, "retry.multiplier", "from 1"},
		"more than all of it":     {map[string]any{"retry": map[string]any{"jitter": 1.5}}, "retry.jitter", "from 0 to 1"},
		"no window":               {map[string]any{"http2": map[string]any{"stream_window": 65534}}, "http2.stream_window", "from 65535"},
		"a window in a smaller":   {map[string]any{"http2": map[string]any{"connection_window": "1MiB"}}, "http2.connection_window", "from 2097152"},
		"no connection":           {map[string]any{"connection_pool_size": 0}, "connection_pool_size", "from 1"},
		"no region's name":        {map[string]any{"preferred_region": "US East"}, "preferred_region", "no name of a region"},
		"no client":               {map[string]any{"client_id": ""}, "client_id", "empty"},
		"a long client":           {map[string]any{"client_id": strings.Repeat("x", 201)}, "client_id", "201"},
		"tls in the clear":        {map[string]any{"tls": map[string]any{"ca": "x.pem"}}, "tls", "https"},
		"half a certificate":      {map[string]any{"endpoints": []string{"https://a:1"}, "tls": map[string]any{"cert": "x.pem"}}, "tls", "belong together"},
		"a CA that is not there":  {map[string]any{"endpoints": []string{"https://a:1"}, "tls": map[string]any{"ca": "/nonexistent"}}, "tls.ca", "no such file"},
		"a misspelt name":         {map[string]any{"organisation": 1}, "organisation", "did you mean \"organization\""},
		"a misspelt name further": {map[string]any{"timeouts": map[string]any{"writ": "1s"}}, "timeouts.writ", "did you mean \"write\""},
	} {
		t.Run(name, func(t *testing.T) {
			config := map[string]any{"endpoints": []string{"http://127.0.0.1:1"}, "organization": 1, "vault": 1}
			for k, v := range bad.change {
				config[k] = v
			}
			_, err := configured(t, config)
			e := wantCode(t, err, storage.InvalidArgument)
			if e.ConfigPath != bad.path || !strings.Contains(e.Error(), bad.says) {
				t.Errorf("at %q: %v", e.ConfigPath, e)
			}
			if strings.Contains(e.Error(), "hunter2") {
				t.Errorf("the error holds a password: %v", e)
			}
		})
	}
}

// Slugs have more digits than a float keeps.
func TestSlugsAreExact(t *testing.T) {
	config := ledger.DefaultConfig()
	if err := sdk.DecodeConfig(json.RawMessage(`{"organization": 18446744073709551615, "vault": 270000000000000001}`), &config); err != nil {
		t.Fatal(err)
	}
	if config.Organization != 1<<64-1 || config.Vault != 270000000000000001 {
		t.Errorf("the slugs are %d and %d", config.Organization, config.Vault)
	}
}

func TestOpenIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	config := ledger.DefaultConfig()
	config.Endpoints, config.Organization, config.Vault = []string{silent(t)}, 1, 1
	_, err := ledger.New(ctx, config, sdk.Env{})
	wantCode(t, err, storage.Canceled)
}
