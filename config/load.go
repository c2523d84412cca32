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

// Default is the built-in configuration, a commented YAML file. It is the lowest
// layer of every [Load].
func Default() []byte { return []byte(defaultYAML) }

// Options say where a configuration comes from. The zero value is the built-in
// defaults alone.
type Options struct {
	// File is the path of the YAML file; empty: none. Errors name it, and relative
	// paths in it start from its folder.
	File string
	// Content, unless nil, is what the file holds: it is then not read. File still
	// names it; without File, errors say "configuration".
	Content []byte
	// Values, unless nil, is what the file would hold, made in Go: maps of the keys that a
	// file has, lists, text, numbers, and what [encoding/json] makes such of. Sizes and
	// durations are text, as "64MiB" and "1m30s". A dollar is a dollar: there are no
	// references. File and Content are then not read; relative paths still start from
	// File's folder.
	Values map[string]any
	// Environ is the environment as NAME=value lines, usually os.Environ(). It
	// serves the PLINTH_ variables and ${env:NAME} alike. Nil: an empty one.
	Environ []string
	// Flags are values by dotted path: "server.http", "stores.default.pipeline.cache.ttl".
	Flags map[string]string
	// BuiltIn are the plugins that stores may name without an entry in the
	// configuration, because the program brings them. [Memory] needs none either.
	BuiltIn []string
	// Secrets are the paths of secrets in the configurations of plugins, by plugin, such as
	// "tls.key" or "peers[].password". Neither [Config.YAML] nor errors show those values.
	// Other secrets are known by their names or their form.
	Secrets map[string][]string
}

// Load reads all layers and decodes them. What is wrong is reported all at once as
// [Errors]; where the file cannot be read or is not YAML, as one of them. Where it
// can be, the Config comes with the errors: not to be run, but so that what
// depends on plugins and wrappers can be checked too, except where it is
// [Config.Broken]. Load keeps nothing, so that loading again is the same as
// loading.
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
	d.Decode(cfg, root, "")
	cfg.checkBackends(builtins, &d)
	cfg.checkTokens(file, &d)
	for _, path := range []*string{&cfg.Server.TLS.Cert, &cfg.Server.TLS.Key, &cfg.Server.TLS.ClientCA} {
		*path = cfg.Path(*path)
	}
	if err := p.Err(); err != nil {
		errors.As(err, &cfg.problems)
		return cfg, err
	}
	return cfg, nil
}

// document is what the file says, or stands in its place.
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
	}
	return strictyaml.Parse(cmp.Or(o.File, "configuration"), content, p)
}

// Err returns the errors of Load, for callers that look for others first; nil for a
// Config that is valid.
func (c *Config) Err() error {
	if len(c.problems) == 0 {
		return nil
	}
	return c.problems
}

// Broken says whether an error of Load is about what path names, about a part of
// it, or about what it is a part of.
func (c *Config) Broken(path string) bool {
	return slices.ContainsFunc(c.problems, func(e *Error) bool {
		return strictyaml.Within(e.Path, path) || strictyaml.Within(path, e.Path)
	})
}
