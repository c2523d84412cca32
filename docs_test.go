package plinth_test

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/config/configtest"
	"github.com/plinthkv/plinth/host"
	"github.com/plinthkv/plinth/otel/setup"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/wrappers"
)

// yamlBlock is a block of YAML in a page. What follows the language says where in a
// configuration it stands, "in stores.default"; without that it is a whole file, or "tests"
// of the file before.
var yamlBlock = regexp.MustCompile("(?ms)^```ya?ml([^\n]*)\n(.*?)^```$")

// Every configuration that is printed in a page loads as it is printed there, with its
// telemetry and the settings of its stages and plugins.
func TestYAMLOfThePages(t *testing.T) {
	blocks := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || len(d.Name()) > 1 && d.Name()[0] == '.'):
			return filepath.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		page, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		before := ""
		for _, at := range yamlBlock.FindAllSubmatchIndex(page, -1) {
			blocks++
			info, text := string(page[at[2]:at[3]]), string(page[at[4]:at[5]])
			line := strings.Count(string(page[:at[4]]), "\n") + 1
			t.Run(fmt.Sprintf("%s:%d", path, line), func(t *testing.T) {
				if info == " tests" {
					passes(t, before, text)
				} else {
					loads(t, info, text)
				}
			})
			before = text
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if blocks < 13 {
		t.Errorf("only %d blocks were found", blocks)
	}
}

// passes runs tests of a configuration as "plinth check --test" does.
func passes(t *testing.T, configuration, tests string) {
	dir := t.TempDir()
	for name, text := range map[string]string{"plinth.yaml": configuration, "tests.yaml": tests} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, path, err := configtest.Load(filepath.Join(dir, "tests.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	engines := map[string]configtest.Engine{config.Memory: sdk.TryByOpening(memory.Open)}
	quiet := plinth.WithLogger(slog.New(slog.DiscardHandler))
	if err := configtest.Run(t.Context(), f, path, engines, []plinth.Option{quiet}, func(test *configtest.Test, err error) {
		if err != nil {
			t.Errorf("%s: %v", test.Name, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func loads(t *testing.T, info, text string) {
	o := config.Options{File: filepath.Join(t.TempDir(), "plinth.yaml"), BuiltIn: []string{"etcd", "ledger", "pebble", "postgres"}}
	switch place, fragment := strings.CutPrefix(info, " in "); {
	case fragment:
		text = nested(strings.Split(place, "."), text)
		o.Flags = map[string]string{"stores.default.backend.plugin": "memory"}
	case info != "":
		t.Fatalf("%q after the language: want nothing, or as in \"in stores.default\"", info)
	}
	o.Content = []byte(text)
	for _, secret := range []string{"hq-token", "etcd-password", "postgres-password"} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(o.File), secret), []byte("t"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(o)
	if err != nil {
		t.Fatal(err)
	}
	errs := []error{setup.Validate(cfg.Telemetry)}
	kinds, err := wrappers.NewRegistry(plinth.Wrappers()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, store := range cfg.Stores {
		for _, stage := range store.Pipeline {
			factory, ok := kinds.Lookup(stage.Kind)
			if !ok {
				t.Errorf("%s: unknown stage %q", stage.Pos, stage.Kind)
				continue
			}
			errs = append(errs, stage.Config.Decode(copyOf(factory.Defaults())))
		}
	}
	for name, node := range cfg.Plugins {
		linked := slices.Contains(o.BuiltIn, name)
		i := slices.IndexFunc(host.PluginSettings(), func(k host.PluginKind) bool {
			return linked && k.Key == "" && k.Isolated || !linked && k.Key != "" && node.Has(k.Key)
		})
		if i < 0 {
			t.Errorf("%s: it is of no kind", name)
			continue
		}
		errs = append(errs, node.Decode(copyOf(host.PluginSettings()[i].Defaults)))
	}
	if err := config.Join(errs...); err != nil {
		t.Error(err)
	}
}

// copyOf is a pointer to a copy of defaults, to decode into.
func copyOf(defaults any) any {
	settings := reflect.New(reflect.TypeOf(defaults))
	settings.Elem().Set(reflect.ValueOf(defaults))
	return settings.Interface()
}

// nested is text below the keys of place.
func nested(place []string, text string) string {
	indent := ""
	var b strings.Builder
	for _, key := range place {
		b.WriteString(indent + key + ":\n")
		indent += "  "
	}
	for line := range strings.Lines(text) {
		b.WriteString(indent + line)
	}
	return b.String()
}
