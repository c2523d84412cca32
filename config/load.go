package config

import (
	"cmp"
	_ "embed"
	"errors"
	"path/filepath"
	"slices"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

//go:embed default.yaml
var defaultYAML string

// Default returns the built-in configuration, a commented YAML file. It is the lowest
// layer of every [Load].
func Default() []byte { return []byte(defaultYAML) }

// Options names the sources of a configuration. The zero value is the built-in defaults
// only.
type Options struct {
	// File names the YAML file. It is optional. Errors use it as the name, and relative paths
	// in the file start from its folder.
	File string
	// Content, unless nil, is the content of the file, which is then not read. File still
	// is its name; without File, errors use "configuration".
	Content []byte
	// Values, unless nil, is the content of the file as Go values: maps with the keys of
	// a file, lists, text, numbers, and what [encoding/json] converts to those. Sizes and
	// durations are text, such as "64MiB" and "1m30s". A dollar is a dollar: there are no
	// references. File and Content are then not read; relative paths still start from
	// File's folder.
	Values map[string]any
	// Environ holds the environment as NAME=value lines, usually os.Environ(). It is used for
	// the PLINTH_ variables and for ${env:NAME}. If nil, the environment is empty.
	Environ []string
	// Flags holds values by dotted path: "server.http", "stores.default.pipeline.cache.ttl".
	Flags map[string]string
	// BuiltIn lists the program's own plugins, which stores may name without an entry in the
	// configuration. [Memory] needs no entry either.
	BuiltIn []string
	// Secrets lists the paths of secrets in the configurations of plugins, by plugin, such as
	// "tls.key" or "peers[].password". Neither [Config.YAML] nor errors show those values.
	// Other secrets are recognized by their names or their form.
	Secrets map[string][]string
}

// Load reads all layers and decodes them. It reports all problems at once as [Errors],
// including a file that cannot be read or is not YAML. If the file is YAML, Load returns
// a Config along with the errors. Do not run that: it serves to check settings that
// depend on plugins and wrappers as well, except those that are [Config.Broken]. Load
// keeps nothing, so loading again is a reload.
func Load(o Options) (*Config, error) {
	var d strictyaml.Decoder
	p := &d.Problems
	defaults := strictyaml.Parse("built-in defaults", Default(), p)
	before := p.Len()
	file := o.document(p)
	if file == nil && p.Len() > before {
		return nil, p.Err() // no YAML: anything else would be guesses
	}
	if file != nil && file.Kind != strictyaml.Mapping {
		d.Want(file, "", "a mapping with plugins, stores, server")
		file = nil
	}

	env := newEnviron(o.Environ)
	builtins := append(slices.Clone(o.BuiltIn), Memory)
	root, err := merge(defaults, file, env, o.Flags, builtins, p)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(o.File)
	r := resolver{env: env, dir: dir, problems: p}
	r.tree(root, "")
	hideSecrets(root, o.Secrets)

	cfg := &Config{file: o.File, dir: dir, root: root}
	strictyaml.Seal(root)
	checkProtections(root, file, &d)
	d.Decode(cfg, root, "")
	cfg.checkBackends(builtins, &d)
	for _, path := range []*string{&cfg.Server.TLS.Cert, &cfg.Server.TLS.Key, &cfg.Server.TLS.ClientCA} {
		*path = cfg.Path(*path)
	}
	if err := p.Err(); err != nil {
		errors.As(err, &cfg.problems)
		return cfg, err
	}
	return cfg, nil
}

// document returns what the file says, or stands in its place.
func (o *Options) document(p *strictyaml.Problems) *strictyaml.Value {
	content := o.Content
	switch {
	case o.Values != nil:
		return parseValues(o.Values, p)
	case content == nil && o.File != "":
		var err error
		if content, err = readFile(o.File, strictyaml.MaxFile); err != nil {
			p.Add(Position{File: o.File}, "", err.Error())
			return nil
		}
		defer clear(content)
	}
	return strictyaml.Parse(cmp.Or(o.File, "configuration"), content, p)
}

// Err returns the errors of Load, for callers that first look for other errors, or nil if
// the Config is valid.
func (c *Config) Err() error {
	if len(c.problems) == 0 {
		return nil
	}
	return c.problems
}

// Broken reports whether an error of Load is about path, a part of it, or a parent of it.
func (c *Config) Broken(path string) bool {
	return slices.ContainsFunc(c.problems, func(e *Error) bool {
		return strictyaml.Within(e.Path, path) || strictyaml.Within(path, e.Path)
	})
}
