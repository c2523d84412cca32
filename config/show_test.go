package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestYAML proves that what is shown holds no secret, and is read again as what it
// came from.
func TestYAML(t *testing.T) {
	o := Options{
		Environ: []string{"PLINTH_SERVER__HTTP=unix:/run/hunter2", "PLINTH_SERVER__HOSTS=hunter2,b", "S=hunter2"},
		Flags:   map[string]string{"server.limits.body": "1MiB"},
	}
	c := load(t, o, `
plugins: { acme: { wasm: "${env:S}.wasm", trust: "", grants: { env: { "on": "true", N: '5', D: "$$x ${env:S}" } } } }
server: { token: hunter2-too }
stores: { a: { backend: { plugin: acme, config: { a: "5", b: 5, c: ~, d: "~", e: [], f: {}, g: "multi\nline" } }, pipeline: [ instrument, cache: { name: x } ] } }
`)
	out, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "hunter2") {
		t.Errorf("a secret is shown:\n%s", out)
	}
	for _, want := range []string{"http: ${env:PLINTH_SERVER__HTTP}", "token: (hidden)", "wasm: ${env:S}.wasm", "body: 1MiB"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}

	shown := strings.NewReplacer("token: "+hidden, "token: hunter2-too", "N: "+hidden, `N: "5"`, `on: `+hidden, `on: "true"`).Replace(string(out))
	again := load(t, Options{Environ: o.Environ}, shown)
	was, _ := c.Stores["a"].Backend.Config.JSON()
	is, err := again.Stores["a"].Backend.Config.JSON()
	if err != nil || string(was) != string(is) {
		t.Errorf("backend config: %s, was %s", is, was)
	}
	if !sameServer(c.Server, again.Server) {
		t.Errorf("got %+v, was %+v", again.Server, c.Server)
	}
	if out, err := new(Config).YAML(); out != nil || err != nil {
		t.Errorf("not loaded: %s, %v", out, err)
	}
}

// sameServer compares all fields, secrets by what they hold.
func sameServer(a, b Server) bool {
	same := a.Token.Same(b.Token) && a.AdminToken.Same(b.AdminToken)
	a.Token, a.AdminToken, b.Token, b.AdminToken = nil, nil, nil, nil
	return same && reflect.DeepEqual(a, b)
}

// Whatever is a secret by its name, by where it is or by its form is not shown; what is none is.
func TestSecretsAreHidden(t *testing.T) {
	c := load(t, Options{Environ: []string{"PW=hunter2"}}, `
plugins:
  acme:
    process: { command: [./acme, --password, hunter2, "--api-key=hunter2", -v, --auth, hunter2, "--passwd hunter2", "--bearer=hunter2", "--url=postgres://app:hunter2@db/x?sslmode=on", -H, "Authorization: Bearer hunter2"] }
stores:
  a:
    backend:
      plugin: acme
      config:
        dsn: "host=db user=app password=hunter2 sslmode=require"
        mysql: "app:hunter2@tcp(db:3306)/x"
        url: "https://app:hunter2@db/x"
        query: "https://db/x?token=hunter2&user=app"
        reference: "postgres://app:${env:PW}@db/x"
        mixed: "postgres://${env:PW}:hunter2@db/x"
        credentials: { user: hunter2, list: [hunter2, { deep: hunter2 }] }
        aws_secret_access_key: hunter2
        headers: { x-key: hunter2 }
        key: plain
        pass: hunter2
        auth: hunter2
        cookie: hunter2
        jwt: hunter2
        encryption_key: hunter2
        json: '{"password":"hunter2","user":"app"}'
        bare: "app:hunter2@db:5432/x"
        slashes: "//app:hunter2@db"
        signed: "https://db/x?sig=hunter2"
        block: "-----BEGIN RSA PRIVATE KEY-----\\nhunter2"
        attributes: [ { name: apikey, value: hunter2 }, { name: region, value: shown } ]
        inner_at: "https://app:p@hunter2@db/x"
        escaped: "host=db password='a\\' hunter2' user=app"
        spaced: "host=db password=a\\ hunter2 user=app"
        comma: "host=db password=a,hunter2&hunter2 user=app"
        ado: "Server=db;Password=a,hunter2;Database=x"
        braces: "{password: hunter2}"
        password_parts: "hunter2${env:PW}"
        secret_default: "${env:NONE:-hunter2}"
        default_in_dsn: "postgres://app:${env:NONE:-hunter2}@db/x"
        default_in_text: "password=${env:NONE:-hunter2} user=app"
        pw: hunter2
        db_pw: hunter2
        pwm: shown
        passage: shown
        port: 5432
        address: "db:5432"
    pipeline: []
telemetry:
  tracer_provider: { processors: [ { batch: { exporter: { otlp_http: { endpoint: "https://hunter2@otel/v1", headers: [ { name: api-key, value: hunter2 } ], headers_list: "k=hunter2" } } } } ] }
`)
	out, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "hunter2") {
			t.Errorf("a secret is shown: %s", line)
		}
	}
	for _, want := range []string{"--password", "-v", "postgres://(hidden)@db/x?sslmode=on", "host=db user=app password=(hidden) sslmode=require", "app:(hidden)@tcp(db:3306)/x",
		"https://(hidden)@db/x", "token=(hidden)&user=app", "${env:PW}", "key: plain", "port: 5432", "db:5432", "name: api-key", "value: shown", "passage: shown", "pwm: shown",
		"Password=(hidden);Database=x", "secret_default: ${env:NONE:-(hidden)}", "app:${env:NONE:-(hidden)}@db/x"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

// Plugins say which of their settings are secrets, whatever their names: lists and what is
// below count, and other plugins do not.
func TestSecretsOfPlugins(t *testing.T) {
	o := Options{BuiltIn: []string{"db", "other"}, Secrets: map[string][]string{"db": {"pin", "peers[].word", "vault", "list"}}, Environ: []string{"PW=hunter2"}}
	c := load(t, o, `
stores:
  a: { backend: { plugin: db, config: { pin: 77777777, list: [hunter2], peers: [ { word: "${env:PW}" }, { word: hunter2, at: one } ], vault: { deep: { er: hunter2 } }, pinned: two } } }
  bc: { backend: { plugin: db, config: { pin: hunter2, "peers": [ { word: "${env:PW:-hunter2}", at: hunter } ] } } }
  tokens: { backend: { plugin: other, config: { pin: three } } }
`)
	out, err := c.YAML()
	if err != nil || strings.Contains(string(out), "hunter2") || strings.Contains(string(out), "7777") {
		t.Errorf("%v, a secret is shown:\n%s", err, out)
	}
	for _, want := range []string{"word: ${env:PW}", "at: one", "pinned: two", "pin: three", "at: hunter", "word: ${env:PW:-(hidden)}"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

// Errors show no secret, whoever wrote them: neither by name, nor by form, nor by a
// plugin's word.
func TestSecretsInErrors(t *testing.T) {
	o := Options{BuiltIn: []string{"db"}, Secrets: map[string][]string{"db": {"pin"}}, Flags: map[string]string{"server.limits.max_ops": "1"}}
	c := load(t, o, `
plugins: { acme: { wasm: acme.wasm, grants: { env: { MODE: crashes, TOKEN: hunter2 } } } }
stores:
  a: { backend: { plugin: db, config: { pin: opensesame, password: hunter2, url: "https://app:hunter2@db/x", auth: true, id: plain, secret_size: 007007 } } }
`)
	own := c.Stores["a"].Backend.Config
	for _, text := range []string{"opensesame", `"hunter2"`, "cannot reach https://app:hunter2@db/x", "hunter2: refused"} {
		for _, err := range []error{own.Errorf("pin", "%s is wrong", text), c.Root().Errorf("", "%s is wrong", text)} {
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "opensesame") || !strings.Contains(err.Error(), "hidden") {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	// What is granted is not shown, and may be a word like any other.
	if err := c.Root().Errorf("", "it crashes: hunter2"); !strings.HasSuffix(err.Error(), "it crashes: (hidden)") {
		t.Errorf("of what is granted: %v", err)
	}
	if err := own.Errorf("id", "plain must be true or false"); !strings.HasSuffix(err.Error(), "plain must be true or false") {
		t.Errorf("too much is hidden: %v", err)
	}
	if err := own.Decode(new(struct {
		Pin        int    `yaml:"pin"`
		Password   Bytes  `yaml:"password"`
		URL        string `yaml:"url"`
		Auth       bool   `yaml:"auth"`
		ID         string `yaml:"id"`
		SecretSize int    `yaml:"secret_size"`
	})); err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "opensesame") || strings.Contains(err.Error(), "7007") {
		t.Errorf("decoded: %v", err)
	}
}

// A token that is written has to be one, from wherever it comes.
func TestEmptyTokens(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "empty"), []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const stores = "\nstores: { a: { backend: { plugin: memory } } }"
	for name, c := range map[string]struct {
		yaml    string
		environ []string
		flags   map[string]string
	}{
		"written":       {yaml: `server: { token: "" }`},
		"null":          {yaml: `server: { token: }`},
		"a variable":    {yaml: `server: { token: "${env:TOK}" }`, environ: []string{"TOK="}},
		"a default":     {yaml: `server: { token: "${env:TOK:-}" }`, environ: []string{"TOK="}},
		"a file":        {yaml: `server: { token: "${file:empty}" }`},
		"environment":   {environ: []string{"PLINTH_SERVER__TOKEN="}},
		"a flag":        {flags: map[string]string{"server.token": ""}},
		"of a remote":   {yaml: `plugins: { hq: { remote: "127.0.0.1:1", token: "" } }`},
		"of one, by it": {yaml: `plugins: { hq: { remote: "127.0.0.1:1", token: "${env:TOK}" } }`, environ: []string{"TOK="}},
	} {
		_, err := Load(Options{File: filepath.Join(dir, "a.yaml"), Content: []byte(c.yaml + stores), Environ: c.environ, Flags: c.flags})
		if err == nil || !strings.Contains(err.Error(), "token") || !strings.Contains(err.Error(), "empty") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever protects is refused where it is empty, and not off without a word.
func TestEmptyProtections(t *testing.T) {
	const stores = "\nstores: { a: { backend: { plugin: memory } } }"
	for _, c := range []struct{ path, yaml string }{
		{"server.tls.cert", "server: { tls: { cert: %s, key: %s } }"},
		{"server.tls.key", "server: { tls: { cert: %s, key: %s } }"},
		{"server.tls.client_ca", "server: { tls: { cert: c.pem, key: k.pem, client_ca: %s } }"},
		{"server.admin_token", "server: { admin_token: %s }"},
		{"plugins.p.token", "plugins: { p: { remote: h:1, token: %s } }"},
		{"plugins.p.tls.ca", "plugins: { p: { remote: h:1, tls: { ca: %s } } }"},
		{"plugins.p.tls.cert", "plugins: { p: { remote: h:1, tls: { ca: system, cert: %s } } }"},
		{"plugins.p.tls.key", "plugins: { p: { remote: h:1, tls: { ca: system, key: %s } } }"},
		{"plugins.p.sha256", "plugins: { p: { wasm: p.wasm, sha256: %s } }"},
		{"plugins.p.grants.dir", "plugins: { p: { process: { command: [./p] }, grants: { dir: %s } } }"},
	} {
		for _, empty := range []string{`""`, `"${env:NO:-}"`, `"${env:EMPTY:-}"`, "", "~"} {
			_, err := Load(Options{File: "a.yaml", Content: []byte(strings.ReplaceAll(c.yaml, "%s", empty) + stores), Environ: []string{"EMPTY="}})
			if err == nil || strings.Count(err.Error(), c.path+": must not be empty") != 1 || !strings.Contains(err.Error(), "a.yaml:1:") {
				t.Errorf("%s: %q: %v", c.path, empty, err)
			}
		}
		if strings.HasPrefix(c.path, "plugins.") {
			continue
		}
		name := "PLINTH_" + strings.ToUpper(strings.ReplaceAll(c.path, ".", "__"))
		_, err := Load(Options{Environ: []string{name + "="}})
		if err == nil || !strings.Contains(err.Error(), "env "+name+": "+c.path+": must not be empty") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestYAMLOfDefaults proves that the built-in configuration is whole: laid over
// itself it changes nothing.
func TestYAMLOfDefaults(t *testing.T) {
	c, err := Load(Options{})
	if err != nil {
		t.Fatal(err)
	}
	was, _ := c.YAML()
	again, _ := load(t, Options{}, string(Default())).YAML()
	if string(was) != string(again) {
		t.Errorf("got\n%s\nwant\n%s", again, was)
	}
}
