package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

// load is Load of a file's text that has to succeed.
func load(t *testing.T, o Options, content string) *Config {
	t.Helper()
	o.Content = []byte(content)
	if o.File == "" {
		o.File = "plinth.yaml"
	}
	c, err := Load(o)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	c, err := Load(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(maps.Keys(c.Stores)); len(got) != 1 || got[0] != "default" {
		t.Fatalf("stores: %v", got)
	}
	s := c.Stores["default"]
	if s.Backend.Plugin != Memory || !slices.Equal(s.Require, []string{"atomic", "ttl"}) {
		t.Errorf("store: %+v", s)
	}
	if got, _ := s.Backend.Config.JSON(); string(got) != `{"max_bytes":"256MiB"}` {
		t.Errorf("backend config: %s", got)
	}
	var kinds []string
	for _, stage := range s.Pipeline {
		json, err := stage.Config.JSON()
		if err != nil {
			t.Error(err)
		}
		kinds = append(kinds, stage.Kind+" "+stage.Name+" "+string(json))
	}
	if want := []string{"instrument instrument ", `size_limits size_limits {"key":"4KiB","value":"4MiB"}`, `cache cache {"max_bytes":"64MiB","ttl":"60s"}`,
		`batch batch {"max_ops":1000,"max_bytes":"8MiB","linger":"0s"}`}; !slices.Equal(kinds, want) {
		t.Errorf("pipeline: %q, want %q", kinds, want)
	}
	want := ServerLimits{
		Header: 16 << 10, HeaderTimeout: Duration(5 * time.Second), IdleTimeout: Duration(2 * time.Minute),
		Message: 64 << 20, Memory: 512 << 20, MaxOps: 10_000, MaxKeys: 1000, MaxConcurrent: 1024,
	}
	if c.Server.HTTP != "127.0.0.1:7421" || c.Server.GRPC != "127.0.0.1:7420" || c.Server.Limits != want || c.Server.ShutdownTimeout != Duration(15*time.Second) {
		t.Errorf("server: %+v", c.Server)
	}
	if len(c.Plugins) != 0 || !c.Telemetry.IsEmpty() {
		t.Errorf("plugins %v, telemetry %v", c.Plugins, c.Telemetry)
	}
}

// TestMerge holds the rule by which a file, the environment and flags are laid over
// the defaults.
func TestMerge(t *testing.T) {
	const oneStore = "stores: { a: { backend: { plugin: memory }, pipeline: [ cache: { ttl: 1s } ] } }\n"
	tests := []struct {
		name    string
		content string
		env     []string
		flags   map[string]string
		want    string // of the effective configuration: lines that it holds
		without string // and that it does not
	}{
		{"an empty file is the defaults", "", nil, nil, "http: 127.0.0.1:7421", ""},
		{"so is one of comments", "# nothing\n", nil, nil, "default:", ""},
		{"and one of nothing", "---\n~\n", nil, nil, "default:", ""},
		{"with a byte order mark", "\ufeffserver: { http: '' }", nil, nil, `http: ""`, ""},
		{"stores replace the built-in ones", oneStore, nil, nil, "a:", "default:"},
		{"server merges by key", "server: { token: x }", nil, nil, "http: 127.0.0.1:7421", ""},
		{"and below", "server: { limits: { max_ops: 5 } }", nil, nil, "max_keys: 1000 max_ops: 5", "max_ops: 10000"},
		{"a key without a value is not written", "server: { http: , limits: }", nil, nil, "http: 127.0.0.1:7421 max_ops: 10000", "null"},
		{"sections without a value neither", "server:\nplugins:\ntelemetry:\n", nil, nil, "default: http: 127.0.0.1:7421", ""},
		{"an empty value is one", `server: { http: "" }`, nil, nil, `http: ""`, "7421"},
		{"plugins by name", "plugins: { acme: { wasm: a.wasm } }", nil, nil, "default: acme:", ""},
		{"environment over file", "server: { token: x }", []string{"PLINTH_SERVER__TOKEN=y"}, nil, "token: ${env:PLINTH_SERVER__TOKEN}", ""},
		{"flags over environment", "server: { http: x }", []string{"PLINTH_SERVER__HTTP=y"}, map[string]string{"server.http": "localhost:1"}, "http: localhost:1", "env:"},
		{"a wrong variable under a flag does not count", "", []string{"PLINTH_SERVER__LIMITS__MAX_OPS=many"}, map[string]string{"server.limits.max_ops": "7"}, "max_ops: 7", ""},
		{"a wrong value under a variable neither", "server: { limits: { max_ops: 010 } }", []string{"PLINTH_SERVER__LIMITS__MAX_OPS=7"}, nil, "max_ops: ${env:PLINTH_SERVER__LIMITS__MAX_OPS}", ""},
		{"a missing reference under a flag neither", "server: { token: '${env:NO}' }", nil, map[string]string{"server.http": "", "server.token": "$$x"}, `http: "" token: (hidden)`, ""},
		{"a stage by name", oneStore, nil, map[string]string{"stores.a.pipeline.cache.ttl": "2s"}, "ttl: 2s", "ttl: 1s"},
		{"a new key of a stage", oneStore, nil, map[string]string{"stores.a.pipeline.cache.size": "2"}, "ttl: 1s size: 2", ""},
		{"a bare stage", "", nil, map[string]string{"stores.default.pipeline.instrument.keys": "hash"}, "instrument: keys: hash", ""},
		{"a list", "", nil, map[string]string{"stores.default.require": "ttl, atomic,versions"}, "- ttl - atomic - versions", ""},
		{"an empty list", "", nil, map[string]string{"stores.default.require": ""}, "", "- ttl"},
		{"a built-in plugin", "", nil, map[string]string{"plugins.memory.limits.memory": "1GiB"}, "memory: limits: memory: 1GiB", ""},
		{"a single value at the top", "allow_faults: false", []string{"PLINTH_ALLOW_FAULTS=true"}, nil, "allow_faults: ${env:PLINTH_ALLOW_FAULTS}", ""},
		{"a new store", "", []string{"PLINTH_STORES__X__START=optional", "PLINTH_STORES__X__BACKEND__PLUGIN=memory", "PLINTH_STORES__X__BACKEND__CONFIG__MAX_BYTES=1MiB"}, nil, "default: x: backend: config: max_bytes: plugin: ${env:PLINTH_STORES__X__BACKEND__PLUGIN} start:", ""},
		{"a new store by flags", oneStore, nil, map[string]string{"stores.My-Store.backend.store": "a", "stores.My-Store.pipeline": "instrument,batch"}, "a: My-Store: backend: store: a pipeline: instrument,batch", "default:"},
		{"a new store of the environment, and a flag for it", "", []string{"PLINTH_STORES__X__BACKEND__PLUGIN=memory"}, map[string]string{"stores.x.require": "ttl"}, "x: backend: require: ttl", ""},
		{"a new plugin", "", []string{"PLINTH_PLUGINS__KV__WASM=kv.wasm", "PLINTH_PLUGINS__KV__ON_LOSS=fail"}, map[string]string{"plugins.r.remote": "h:1", "plugins.p.process.command": "./p,-v"}, "kv: on_loss: wasm: p: process: command: r: remote: h:1", ""},
		{"a new stage is the innermost", "", []string{"PLINTH_STORES__DEFAULT__PIPELINE__RETRY__ATTEMPTS=3"}, map[string]string{"stores.default.pipeline.timeout.timeout": "3s", "stores.default.pipeline.retry.deadline": "9s"}, "batch: - retry: attempts: deadline: 9s - timeout: timeout: 3s", ""},
		{"a stage of a store without a pipeline", "stores: { a: { backend: { plugin: memory } } }", []string{"PLINTH_STORES__A__PIPELINE__CACHE__TTL=3s"}, nil, "pipeline: - cache: ttl:", ""},
		{"what is not ours", "", []string{"PLINTH_CONFIG=x", "PLINTH_LOG=json", "PLINTH_LOG_LEVEL=x", "PLINTH_LOG_SERVICE_HOST=x", "PLINTH_SERVICE_HOST=x", "PLINTH_PORT_80_TCP=x", "PLINTH_SERVER_SERVICE_HOST=x", "PLINTH_SERVER_PORT_80_TCP_ADDR=x", "PLINTH_SERVER_SERVICE_PORT_HTTP=1", "PLINTH_SERVER_PORT=1", "OTHER__X=1", "=", "", "NOVALUE"}, nil, "http: 127.0.0.1:7421", "x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := load(t, Options{Environ: tt.env, Flags: tt.flags}, tt.content)
			yaml, err := c.YAML()
			if err != nil {
				t.Fatal(err)
			}
			got := " " + strings.Join(strings.Fields(string(yaml)), " ") + " "
			rest := got
			for want := range strings.FieldsSeq(tt.want) {
				_, after, ok := strings.Cut(rest, " "+want+" ")
				if !ok {
					t.Fatalf("no %q in:\n%s", want, yaml)
				}
				rest = " " + after
			}
			if tt.without != "" && strings.Contains(got, " "+tt.without+" ") {
				t.Errorf("%q in:\n%s", tt.without, yaml)
			}
		})
	}
}

// A variable that a flag overrides is not looked at, and what both of them add is the
// flag's.
func TestFlagsOverVariables(t *testing.T) {
	o := Options{Environ: []string{"PLINTH_PLUGINS__NO__ON_LOSS=fail", "PLINTH_SERVER__TLS__CERT=x", "PLINTH_STORES__DEFAULT__BACKEND__CONFIG__NEW_KEY=1"},
		Flags: map[string]string{"plugins.no.on_loss": "fail", "server.tls.cert": "y", "stores.default.backend.config.New-Key": "2"}}
	c, err := Load(o)
	if want := "flag --set plugins.no.on_loss: plugins: unknown plugin \"no\": known are memory; to add a plugin, use --set plugins.no.wasm\nflag --set server.tls.cert: server.tls.key: is missing: cert requires it"; err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if got, _ := c.Stores["default"].Backend.Config.JSON(); string(got) != `{"max_bytes":"256MiB","New-Key":2}` {
		t.Errorf("%s", got)
	}
}

// TestNames proves that variables find names whatever their case, and - for _.
func TestNames(t *testing.T) {
	const content = `
plugins: { Acme-1: { wasm: a.wasm } }
stores:
  my-Store: { backend: { plugin: Acme-1, config: { maxBytes: 1, max-keys: 2 } }, pipeline: [ cache: { name: hot-keys, ttl: 1s }, cache: { ttl: 3s } ] }
  a_b: { backend: { plugin: memory } }
  a-b: { backend: { plugin: memory } }
`
	c := load(t, Options{Environ: []string{
		"PLINTH_PLUGINS__ACME_1__LIMITS__CALL=3s",
		"plinth_Stores__MY_STORE__PIPELINE__HOT_KEYS__TTL=2s",
		"PLINTH_STORES__MY_STORE__BACKEND__CONFIG__MAXBYTES=7",
		"PLINTH_STORES__MY_STORE__BACKEND__CONFIG__MAX_KEYS=8",
		"PLINTH_STORES__MY_STORE__BACKEND__CONFIG__ADDED_KEY=true",
	}, Flags: map[string]string{
		"stores.a-b.require":                 "ttl", // spelt exactly, so that a_b is not in doubt
		"stores.my-store.pipeline.cache.TTL": "4s",
	}}, content)
	if got := c.Plugins["Acme-1"].Text("limits.call"); got != "3s" {
		t.Errorf("call: %v", got)
	}
	s := c.Stores["my-Store"]
	if got, _ := s.Backend.Config.JSON(); string(got) != `{"maxBytes":7,"max-keys":8,"added_key":true}` {
		t.Errorf("config: %s", got)
	}
	for i, want := range []string{`{"ttl":"2s"}`, `{"ttl":"4s"}`} {
		if got, _ := s.Pipeline[i].Config.JSON(); string(got) != want {
			t.Errorf("stage %d: %s, want %s", i, got, want)
		}
	}
	if s.Pipeline[0].Name != "hot-keys" || s.Pipeline[0].Kind != "cache" || s.Pipeline[1].Name != "cache" {
		t.Errorf("stages: %+v", s.Pipeline)
	}
	if len(c.Stores["a-b"].Require) != 1 || len(c.Stores["a_b"].Require) != 0 {
		t.Error("the flag set the wrong store")
	}
}

func TestBuiltIn(t *testing.T) {
	const content = "stores: { a: { backend: { plugin: own } } }"
	if _, err := Load(Options{File: "a.yaml", Content: []byte(content)}); err == nil {
		t.Error("a plugin that does not exist was accepted")
	}
	load(t, Options{BuiltIn: []string{"own"}}, content)
}

// TestFiles reads real files, and what is no file.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	huge := strings.Repeat("# a comment\n", 1<<20/12+1)
	for name, tt := range map[string]struct{ path, want string }{
		"missing":       {filepath.Join(dir, "none.yaml"), "no such file"},
		"directory":     {dir, "is a directory"},
		"pipe":          {pipe, "is not a regular file"},
		"too large":     {write("huge.yaml", huge), "is larger than 1048576 bytes"},
		"not UTF-8":     {write("latin.yaml", "server:\n  token: ä\xe4"), ":2:11: is not UTF-8"},
		"UTF-16":        {write("utf16.yaml", "\xff\xfea\x00"), ":1:1: is not UTF-8"},
		"zero byte":     {write("zero.yaml", "server: \x00"), ":1:9: is not YAML: control characters are not allowed"},
		"very deep":     {write("deep.yaml", strings.Repeat("[", 1<<20-10)), ":1:10001: is not YAML: exceeded max depth of 10000"},
		"no such level": {write("a.yaml", "server: ["), ":1:9: is not YAML: a { or [ is not closed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(Options{File: tt.path})
			var all Errors
			if !errors.As(err, &all) || len(all) != 1 {
				t.Fatalf("%v", err)
			}
			sep := ": "
			if tt.want[0] == ':' {
				sep = ""
			}
			if got, want := all.Error(), tt.path+sep+tt.want; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}

	write("sub/token", "s3cret\n")
	write("sub/two", "two lines\n\n")
	path := write("sub/plinth.yaml", `
plugins: { acme: { wasm: ../acme.wasm }, abs: { wasm: /opt/acme.wasm } }
server: { token: "${file:token}", tls: { cert: c.pem, key: ./k.pem } }
stores: { a: { backend: { plugin: acme, config: { text: "${file:two}" } } } }
`)
	c, err := Load(Options{File: path})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Path(c.Plugins["acme"].Text("wasm")); got != filepath.Join(dir, "acme.wasm") {
		t.Errorf("wasm: %s", got)
	}
	if got := c.Path(c.Plugins["abs"].Text("wasm")); got != "/opt/acme.wasm" {
		t.Errorf("wasm: %s", got)
	}
	if shown := fmt.Sprintf("%v %+v %#v", *c, c.Server, c.Server); strings.Contains(shown, "s3cret") {
		t.Errorf("the token is shown: %s", shown)
	}
	if c.Server.Token.Reveal() != "s3cret" || c.Server.TLS.Cert != filepath.Join(dir, "sub/c.pem") || c.Server.TLS.Key != filepath.Join(dir, "sub/k.pem") {
		t.Errorf("server: %+v", c.Server)
	}
	if got, _ := c.Stores["a"].Backend.Config.JSON(); string(got) != `{"text":"two lines\n"}` {
		t.Errorf("config: %s", got)
	}
}

// TestManyErrors proves that a hostile file does not fill the screen.
func TestManyErrors(t *testing.T) {
	for name, content := range map[string]string{
		"plugins":    "plugins:\n" + lines(5_000, "  x.%d:\n"),
		"require":    "stores:\n  a:\n    backend: { plugin: memory }\n    require:\n" + lines(5_000, "    - x%d\n"),
		"stages":     "stores:\n  a:\n    backend: { plugin: memory }\n    pipeline:\n" + lines(5_000, "    - x%d: 1\n"),
		"keys":       lines(5_000, "x%d: 1\n"),
		"same key":   lines(5_000, "server: 1\n"),
		"long key":   strings.Repeat("a", 1<<19) + ": 1",
		"references": "stores:\n  a:\n    backend: { plugin: none }\n    require:\n" + lines(5_000, "    - ${env:A:-x%d}\n"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(Options{File: "a.yaml", Content: []byte(content)})
			if name == "require" {
				if err != nil {
					t.Fatal(err)
				}
			} else if n := strings.Count(err.Error(), "\n"); n > strictyaml.MaxErrors || len(err.Error()) > 1<<17 {
				t.Errorf("%d lines, %d bytes", n, len(err.Error()))
			}
		})
	}
}

// A small file of long paths is refused before koanf keeps each of them.
func TestLongPaths(t *testing.T) {
	deep := strings.Repeat("{"+strings.Repeat("k", 120)+": ", 27)
	for n, refused := range map[int]bool{3_000: false, 100_000: true} {
		content := "stores: { a: { backend: { plugin: memory, config: " + deep + "{" + lines(n, "%d: ,") + "}" + strings.Repeat("}", 30)
		_, err := Load(Options{File: "a.yaml", Content: []byte(content)})
		if got := err != nil && strings.Contains(err.Error(), "their paths are longer than 16777216 bytes together"); got != refused {
			t.Errorf("%d keys: %v", n, err)
		}
	}
}

func lines(n int, format string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(format, "%d", strconv.Itoa(i)))
	}
	return b.String()
}
