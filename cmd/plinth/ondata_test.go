package main

import (
	"encoding/json"
	"testing"

	"github.com/plinthkv/plinth/config"
)

// The name of a folder is what it is: nothing in it is a reference or ends the text.
func TestOnDataNames(t *testing.T) {
	for _, dir := range []string{"/data", `/x${env:HOME}`, "/$$", `/a "b" \c`, "/line\nbreak", "/ü"} {
		raw, err := onData(dir)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(config.Options{Content: raw, BuiltIn: []string{"pebble"}})
		if err != nil {
			t.Errorf("%q: %v", dir, err)
			continue
		}
		var plugin struct{ Grants struct{ Dir string } }
		if text, err := cfg.Plugins["pebble"].JSON(); err != nil {
			t.Fatal(err)
		} else if err := json.Unmarshal(text, &plugin); err != nil {
			t.Fatal(err)
		}
		if got := plugin.Grants.Dir; got != dir {
			t.Errorf("%q became %q", dir, got)
		}
	}
}
