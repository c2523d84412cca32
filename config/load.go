package config

import (
	"cmp"
	_ "embed"
	"errors"
	"path/filepath"
	"slices"
	"strings"

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
	// Environ is the environment as NAME=value lines, usually os.Environ(). It
	// serves the PLINTH_ variables and ${env:NAME} alike. Nil: an empty one.
	Environ []string
	// Flags are values by dotted path: "server.http", "stores.default.pipeline.cache.ttl".
	Flags map[string]string
	// Programs are the plugins that stores may name without an entry in the
	// configuration, because the program brings their executables. Memory needs none
	// either, whose module the host has.
	Programs []string
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
	content := o.Content
	if content == nil && o.File != "" {
		var err error
		if content, err = readFile(o.File, strictyaml.MaxFile); err != nil {
			p.Add(Position{File: o.File}, "", err.Error())
			return nil, p.Err()
		}
	}
	before := p.Len()
	file := strictyaml.Parse(cmp.Or(o.File, "configuration"), content, p)
	if file == nil && p.Len() > before {
		return nil, p.Err() // no YAML: anything else would be guesses
	}
	if file != nil && file.Kind != strictyaml.Mapping {
		d.Want(file, "", "a mapping with plugins, stores, server")
		file = nil
	}

	env := newEnviron(o.Environ)
	builtins := append(slices.Clone(o.Programs), Memory)
	root, err := merge(defaults, file, env, o.Flags, builtins, p)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(o.File)
	r := resolver{env: env, dir: dir, problems: p}
	r.tree(root, "")

	cfg := &Config{root: root}
	d.Decode(cfg, root, "")
	cfg.checkPlugins(o.Programs, &d)
	cfg.checkBackends(builtins, &d)
	cfg.checkTokens(file, &d)
	cfg.resolvePaths(dir)
	if err := p.Err(); err != nil {
		errors.As(err, &cfg.problems)
		return cfg, err
	}
	return cfg, nil
}

// Broken says whether an error of Load is about what path names, about a part of
// it, or about what it is a part of.
func (c *Config) Broken(path string) bool {
	return slices.ContainsFunc(c.problems, func(e *Error) bool {
		return strictyaml.Within(e.Path, path) || strictyaml.Within(path, e.Path)
	})
}

// resolvePaths makes the paths of files start from the working directory.
func (c *Config) resolvePaths(dir string) {
	from := func(path *string) {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
	for name, p := range c.Plugins {
		from(&p.Wasm)
		if p.TLS.CA != SystemCA {
			from(&p.TLS.CA)
		}
		from(&p.TLS.Cert)
		from(&p.TLS.Key)
		from(&p.Grants.Dir)
		p.Process.resolve(from)
		c.Plugins[name] = p
	}
	from(&c.Server.TLS.Cert)
	from(&c.Server.TLS.Key)
	from(&c.Server.TLS.ClientCA)
}

// resolve resolves what is written as a path, and the paths of files. One in the
// command keeps its separator, without which it would be looked up in PATH.
func (p *Process) resolve(from func(*string)) {
	for i, arg := range p.Command {
		if strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../") || i == 0 && strings.Contains(arg, "/") {
			from(&arg)
			if p.Command[i] = arg; !strings.Contains(arg, "/") {
				p.Command[i] = "./" + arg
			}
		}
	}
	files := make(map[string]string, len(p.Files))
	for path, digest := range p.Files {
		from(&path)
		files[path] = digest
	}
	if p.Files != nil {
		p.Files = files
	}
}
