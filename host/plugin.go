package host

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/isolate"
	"github.com/plinthkv/plinth/internal/carrier/native"
	"github.com/plinthkv/plinth/internal/carrier/procs"
	"github.com/plinthkv/plinth/internal/carrier/remote"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

// The carriers of a backend.
const (
	CarrierWasm    = carrier.Wasm    // a module in this process
	CarrierProcess = carrier.Process // a process of its own
	CarrierRemote  = carrier.Remote  // another host, over gRPC
	CarrierNative  = carrier.Native  // Go that the program has linked in
)

// carriers make the carriers of each kind: a new kind is a line here, and what it names.
// Modules run in r.
func carriers(r *wasmhost.Runtime) []carrier.Factory {
	return []carrier.Factory{r.Factory(), isolate.Factory(), procs.Factory(), remote.Factory(), native.Factory(), native.ProcessFactory()}
}

// PluginSettings returns the settings of all kinds of plugins, for documentation.
func PluginSettings() []PluginKind {
	var kinds []PluginKind
	for _, f := range carriers(nil) {
		kinds = append(kinds, PluginKind{Noun: f.Noun(), Key: f.Key(), Isolated: f.Isolated(), Defaults: f.Defaults()})
	}
	return kinds
}

// PluginKind describes a kind of plugin in the configuration.
type PluginKind struct {
	Noun     string // name of the kind
	Key      string // the setting that selects this kind; empty for a linked-in plugin
	Isolated bool   // with isolation: process
	Defaults any    // its settings, a struct
}

// plugin is a plugin that can be opened, and its entry in the configuration.
type plugin struct {
	carrier.Carrier
	name  string
	node  *config.Node // nil if it has none
	path  string       // of the entry
	dir   string       // from which its paths are
	users int          // generations that name it, and backends
}

// plugin returns the carrier of the plugin of that name: that of before, if nothing changed. Nil
// without an error: it failed before, and has been reported.
func (b *builder) plugin(ctx context.Context, name string) (*plugin, error) {
	if p, ok := b.plugins[name]; ok {
		return p, nil
	}
	b.plugins[name] = nil
	p := &plugin{name: name, node: b.cfg.Plugins[name], path: "plugins." + name, dir: b.cfg.Path(".")}
	if b.cfg.Broken(p.path) {
		return nil, nil
	}
	before := b.old.plugins[name]
	if before != nil && !b.restart[name] && (b.serve || b.only != "" && b.h.serves(before) || before.same(p)) {
		p = before
	} else if err := b.h.carry(ctx, b.cfg, p); err != nil {
		return nil, err
	}
	b.h.holdPlugin(p)
	b.plugins[name] = p
	return p, nil
}

// digest returns the digest of the plugin's module or executable; empty if it has none.
func (p *plugin) digest() string {
	if f, ok := p.Carrier.(carrier.Filed); ok {
		return f.Digest()
	}
	return ""
}

// serves reports whether a backend of the plugin is open.
func (h *Host) serves(p *plugin) bool {
	h.counts.Lock()
	defer h.counts.Unlock()
	return p.users > 1 // the generation is one
}

// hasFolder reports whether the plugin's backends keep files.
func (p *plugin) hasFolder() bool {
	f, ok := p.Carrier.(carrier.Foldered)
	return ok && f.HasFolder()
}

// same reports whether p, which runs, is what o would be: of the same settings and files.
func (p *plugin) same(o *plugin) bool {
	if !p.node.Same(o.node) || p.node != nil && p.dir != o.dir {
		return false
	}
	f, ok := p.Carrier.(carrier.Filed)
	return !ok || !f.Changed()
}

// carry makes the carrier of p.
func (h *Host) carry(ctx context.Context, cfg *config.Config, p *plugin) error {
	factory, err := h.kindOf(p.name, p.node)
	if err != nil {
		return p.at(cfg, err)
	}
	foreign, wrong := h.foreign(p.node, factory)
	p.Carrier, err = factory.New(ctx, carrier.Plugin{Name: p.name, Config: p.node.Without(foreign...), Module: h.settings.Modules[p.name], Linked: h.settings.Backends[p.name],
		Path: cfg.Path, Settings: carrier.Settings{CacheDir: h.settings.CacheDir, Worker: h.settings.Worker, Telemetry: h.settings.PluginTelemetry,
			Log: h.settings.Log, Clock: h.clock.Now, Tracer: h.settings.Tracer, Meter: h.settings.Meter}})
	if wrong != nil && err == nil {
		err = p.Close(ctx)
	}
	return config.Join(p.at(cfg, wrong), p.at(cfg, err))
}

// at gives an error about the plugin its position.
func (p *plugin) at(cfg *config.Config, err error) error {
	if err == nil {
		return nil
	}
	if p.node == nil {
		return cfg.Root().Errorf(p.path, "%v", err)
	}
	return positioned(p.node, err)
}

// kindOf returns the factory of a plugin's kind, or what is wrong with how it says which.
func (h *Host) kindOf(name string, node *config.Node) (carrier.Factory, error) {
	var keys []string
	for _, f := range h.carriers {
		if key := f.Key(); key != "" && node.Has(key) && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	linked, module := h.settings.Backends[name], h.settings.Modules[name]
	isolated := node.Text("isolation") == "process"
	key := ""
	switch {
	case linked != nil && node.Has("process.command"): // another one of that name
		key = "process"
	case linked != nil:
		isolated = isolated || linked.Isolated && node.Text("isolation") == ""
		keys = slices.DeleteFunc(keys, func(key string) bool { return key == "process" }) // how long it may take
		fallthrough
	case module != nil:
		if len(keys) > 0 {
			return nil, carrier.Fieldf(keys[0], "cannot be set: %s is built in", name)
		}
		if linked == nil {
			key = "wasm"
		}
	case len(keys) > 1:
		return nil, carrier.Fieldf(keys[1], "excludes %s: a plugin is one of them", keys[0])
	case len(keys) == 1:
		key = keys[0]
	case len(node.Keys()) == 0 && !node.IsEmpty(): // no mapping
		return h.carriers[0], nil
	case node == nil:
		return nil, carrier.Fieldf("", "unknown plugin %q", name)
	default:
		return nil, carrier.Fieldf("wasm", "is missing: a plugin is a WebAssembly module, a process, or the remote that serves it")
	}
	isolated = isolated && (key == "wasm" || key == "")
	i := slices.IndexFunc(h.carriers, func(f carrier.Factory) bool { return f.Key() == key && f.Isolated() == isolated })
	return h.carriers[i], nil
}

// planned lists settings that are known, and that this version does not support.
var planned = []string{"grants.fs", "grants.network"}

// foreign returns the settings of a plugin that are another kind's, and that they are wrong.
func (h *Host) foreign(node *config.Node, f carrier.Factory) (foreign []string, wrong error) {
	own := settingsOf(f.Defaults())
	others := slices.Clone(planned)
	for _, other := range h.carriers {
		others = append(others, settingsOf(other.Defaults())...)
	}
	var errs []error
	for _, key := range node.Keys() {
		at := outside(key, own)
		if at == "" || slices.Contains(foreign, at) || outside(at, others) != "" {
			continue
		}
		foreign = append(foreign, at)
		if slices.Contains(planned, at) {
			errs = append(errs, carrier.Fieldf(at, "%s is not supported in this version", at[strings.LastIndexByte(at, '.')+1:]))
		} else {
			errs = append(errs, carrier.Fieldf(at, "does not belong to a plugin that is a %s", f.Noun()))
		}
	}
	return foreign, errors.Join(errs...)
}

// outside returns the first part of a dotted path that leads to none of settings, or ""
// if it leads to one, or into one.
func outside(path string, settings []string) string {
	for end := 0; end < len(path); end++ {
		if i := strings.IndexByte(path[end:], '.'); i >= 0 {
			end += i
		} else {
			end = len(path)
		}
		at := path[:end]
		if slices.Contains(settings, at) {
			return ""
		}
		if !slices.ContainsFunc(settings, func(s string) bool { return strings.HasPrefix(s, at+".") }) {
			return at
		}
	}
	return ""
}

// settingsOf returns the dotted paths of all settings in v, a struct.
func settingsOf(v any) []string {
	var paths []string
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		for i := range t.NumField() {
			f := t.Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			switch {
			case options == "inline":
				walk(f.Type, path)
			case f.Type.Kind() == reflect.Struct:
				walk(f.Type, path+name+".")
			default:
				paths = append(paths, path+name)
			}
		}
	}
	walk(reflect.TypeOf(v), "")
	return paths
}

// try has a plugin say what its backend would be. If the error is Unsupported, it could
// not, and the backend stands for any.
func (p *plugin) try(ctx context.Context, c carrier.Config) (storage.Backend, error) {
	info, err := p.Carrier.(carrier.Trier).Try(ctx, c)
	if err != nil {
		info = anything
	}
	return would{info: info}, err
}
