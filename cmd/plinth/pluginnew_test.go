package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A go.mod that go mod tidy cannot resolve is not written.
func TestRequirementOfANewPlugin(t *testing.T) {
	for _, c := range []struct{ version, named, built, required, source string }{
		{"v1.2.3", "", "", "v1.2.3", ""},
		{"v1.2.3", "", "/built", "v1.2.3", ""},
		{"v1.2.3", "/named", "/built", "v1.2.3", "/named"},
		{"(devel)", "", "/built", "v0.0.0", "/built"},
		{"(devel)", "/named", "/built", "v0.0.0", "/named"},
		{"v1.2.3+dirty", "/named", "", "v0.0.0", "/named"},
		{"v1.2.3+dirty", "", "", "", ""},
		{"(devel)", "", "", "", ""},
	} {
		required, source, err := requirement(c.version, c.named, c.built)
		if required != c.required || source != c.source || (err != nil) != (required == "") {
			t.Errorf("%+v: %q, %q, %v", c, required, source, err)
		}
		if err != nil && !strings.Contains(err.Error(), "--source") {
			t.Error(err)
		}
	}
}

// A name that a configuration cannot give to a plugin is refused, and each flavour says what
// to run first.
func TestNewPlugin(t *testing.T) {
	dir := t.TempDir()
	for _, name := range append(builtinBackends(), "memory") {
		code, _, errs := plinthCommand("plugin", "new", filepath.Join(dir, name))
		if _, err := os.Stat(filepath.Join(dir, name)); code != exitUsage || !strings.Contains(errs, "a plugin of that name is built in") || err == nil {
			t.Errorf("%s: %d, %s, %v", name, code, errs, err)
		}
	}
	for _, args := range [][]string{{"module"}, {"program", "--process"}} {
		path := filepath.Join(dir, args[0])
		if code, _, errs := plinthCommand(append([]string{"plugin", "new", path}, args[1:]...)...); code != exitDone {
			t.Fatalf("%d, %s", code, errs)
		}
		page, err := os.ReadFile(filepath.Join(path, "README.md"))
		if err != nil || !strings.Contains(string(page), "```sh\ngo mod tidy\ngo test .\ngo build .\n") && !strings.Contains(string(page), "```sh\ngo mod tidy\ngo test .\nGOOS=") {
			t.Errorf("%s: %v\n%s", args, err, page)
		}
	}
}
