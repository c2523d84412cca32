package config

import (
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
plugins: { acme: { wasm: "${env:S}.wasm", sha256: "", grants: { env: { "on": "true", N: '5', D: "$$x ${env:S}" } } } }
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
	if !reflect.DeepEqual(c.Server, again.Server) || !reflect.DeepEqual(c.Plugins, again.Plugins) {
		t.Errorf("got %+v %+v, was %+v %+v", again.Server, again.Plugins, c.Server, c.Plugins)
	}
	if out, err := new(Config).YAML(); out != nil || err != nil {
		t.Errorf("not loaded: %s, %v", out, err)
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
