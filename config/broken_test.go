package config_test

import (
	"testing"

	"github.com/plinthkv/plinth/config"
)

// A configuration with errors comes with them, and knows what they are about.
func TestBroken(t *testing.T) {
	cfg, err := config.Load(config.Options{File: "f.yaml", Content: []byte(`
plugins: { acme: { wasm: "${env:NONE}" } }
stores:
  a: { backend: { plugin: memory }, pipeline: [cache, 7, size_limits] }
  b: { backend: { store: a } }
`)})
	if err == nil || cfg == nil {
		t.Fatalf("%v, %v", cfg, err)
	}
	for path, want := range map[string]bool{
		"plugins.acme": true, "plugins.acme.wasm": true, "plugins.acme.wasm.x": true, "plugins": true, "plugins.acm": false,
		"stores.a.pipeline[1]": true, "stores.a.pipeline[0]": false, "stores.a.pipeline[2]": false, "stores.a.backend": false,
		"stores.b": false, "server": false,
	} {
		if got := cfg.Broken(path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	if got := cfg.Stores["b"].Backend.Store; got != "a" {
		t.Errorf("%q", got)
	}
}
