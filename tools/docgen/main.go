// Command docgen writes what is said of configurations in one place, the structs
// that they are decoded into, wherever people look for it: docs/config.md,
// docs/wrappers.md and cmd/plinth/schema.json. With --check it compares only.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/plugins/etcd"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/plugins/pebble"
	"github.com/plinthkv/plinth/plugins/postgres"
)

func main() {
	check := flag.Bool("check", false, "compare with what is committed, and write nothing")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	m := &model{comments: map[string]comments{}, root: root}
	cfg, err := config.Load(config.Options{})
	if err != nil {
		return err
	}
	c := m.describe(reflect.ValueOf(*cfg), "yaml")
	plugins := []plugin{
		{"etcd", m.describe(reflect.ValueOf(etcd.DefaultConfig()), "json")},
		{"ledger", m.describe(reflect.ValueOf(ledger.DefaultConfig()), "json")},
		{"pebble", m.describe(reflect.ValueOf(pebble.DefaultConfig()), "json")},
		{"postgres", m.describe(reflect.ValueOf(postgres.DefaultConfig()), "json")},
		{"memory", m.describe(reflect.ValueOf(memory.DefaultConfig()), "json")},
	}
	var kinds []wrapper
	for _, f := range plinth.Wrappers() {
		kinds = append(kinds, m.wrapper(f))
	}
	if m.err != nil {
		return m.err
	}
	carried := m.carried()
	if m.err != nil {
		return m.err
	}
	schema, err := schemaOf(c, carried, plugins, kinds)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"cmd/plinth/schema.json": schema,
		"docs/config.md":         configPage(c, carried, plugins),
		"docs/wrappers.md":       wrappersPage(kinds),
	} {
		path := filepath.Join(root, filepath.FromSlash(name))
		if !check {
			if err := os.WriteFile(path, content, 0o644); err != nil {
				return err
			}
			continue
		}
		if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, content) {
			return fmt.Errorf("%s is not what its source says: run make generate and commit it", name)
		}
	}
	return nil
}

// moduleRoot returns the nearest folder upwards with a go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			return "", fmt.Errorf("not inside of the module")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}
