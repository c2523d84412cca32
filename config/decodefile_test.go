package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/config"
)

// Other files of a program are read as strictly as a configuration: every mistake has its
// place, and a file is bounded.
func TestDecodeFile(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ content, want string }{
		"good":     {"name: a\nsize: 4KiB", ""},
		"empty":    {"", ""},
		"mistakes": {"name: 7\nsiez: 1\nname: b", `:1:7: name: expected|:2:1: siez: unknown key "siez"|:3:1: name`},
		"a list":   {"- a", ":1:1: expected a mapping"},
		"not YAML": {"a: [", "is not YAML"},
		"two":      {"name: a\n---\nname: b", "second YAML document"},
		"large":    {"name: " + strings.Repeat("x", 1<<20), "is larger than 1048576 bytes"},
	} {
		path := filepath.Join(dir, "file.yaml")
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		var into struct {
			Name string       `yaml:"name"`
			Size config.Bytes `yaml:"size"`
		}
		err := config.DecodeFile(path, &into)
		if c.want == "" {
			if err != nil || name == "good" && (into.Name != "a" || into.Size != 4096) {
				t.Errorf("%s: %v, %+v", name, err, into)
			}
			continue
		}
		for want := range strings.SplitSeq(c.want, "|") {
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
	if err := config.DecodeFile(filepath.Join(dir, "none"), new(struct{})); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a missing file: %v", err)
	}
	if err := config.DecodeFile(dir, new(struct{})); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a folder: %v", err)
	}
}
