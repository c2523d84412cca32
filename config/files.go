package config

import (
	"path/filepath"
	"slices"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

// File returns the path that the configuration was loaded from, or "" if there was none.
func (c *Config) File() string { return c.file }

// References returns the paths of the files that ${file:PATH} references at path or below
// it name, or those of the whole configuration if path is empty.
func (c *Config) References(path string) []string {
	var all []string
	at, ok := c.root.Find(path)
	if path != "" && !ok {
		return nil
	}
	at.Walk(func(v *strictyaml.Value) {
		if v.Origin != strictyaml.Reference {
			return
		}
		_, _, _ = expand(v.Text, func(scheme, arg string) (string, error) { // it was expanded before
			if scheme == "file" && arg != "" {
				if !filepath.IsAbs(arg) {
					arg = filepath.Join(c.dir, arg)
				}
				all = append(all, arg)
			}
			return "", nil
		})
	})
	slices.Sort(all)
	return slices.Compact(all)
}
