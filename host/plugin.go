package host

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/host/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

// builtinMemory is the linear memory of a built-in plugin, in bytes: reserved as
// address space, used as far as it is needed.
const builtinMemory = 2 << 30

// plugin is a loaded module, or a remote host.
type plugin struct {
	module      *wasmhost.Module // nil: it is remote
	remote      client.Config    // of a remote one; each backend has its own connection
	unreachable bool             // that was found and has been reported
}

// carrier is how the plugin is reached.
func (p *plugin) carrier() string {
	if p.module == nil {
		return CarrierRemote
	}
	return CarrierWasm
}

// plugin loads the plugin of that name, once. Nil without an error: it failed
// before, and has been reported.
func (h *Host) plugin(ctx context.Context, cfg *config.Config, name string) (*plugin, error) {
	if p, ok := h.plugins[name]; ok {
		return p, nil
	}
	h.plugins[name] = nil
	pc := cfg.Plugins[name]
	o := wasmhost.Options{
		Name: name, SHA256: pc.SHA256, Trusted: pc.Trust == "trusted",
		Memory: uint64(pc.Limits.Memory), Call: time.Duration(pc.Limits.Call), MaxFrame: int(pc.Limits.MaxFrame),
		Env: pc.Grants.Env, Log: h.settings.Log, Clock: h.settings.Clock,
		Tracer: h.settings.Tracer, Meter: h.settings.Meter,
	}
	if pc.OnLoss == "restart" {
		o.OnLoss = wasmhost.RestartOnLoss
	}
	path := fmt.Sprintf("plugins.%s", name)
	if cfg.Broken(path) {
		return nil, nil
	}
	binary, ok := h.settings.Builtins[name]
	switch {
	case pc.Remote != "":
		p := &plugin{remote: remoteConfig(pc)}
		if err := p.remote.Validate(); err != nil {
			return nil, cfg.Root().Errorf(path, "%v", err)
		}
		h.plugins[name] = p
		return p, nil
	case ok:
		o.BuiltIn, o.Trusted = true, o.Call == 0
		if o.Memory == 0 {
			o.Memory = builtinMemory
		}
	case pc.Wasm == "":
		return nil, cfg.Root().Errorf(path, "there is no plugin %q", name)
	default:
		var err error
		if binary, err = readModule(pc.Wasm); err != nil {
			return nil, cfg.Root().Errorf(path+".wasm", "%v", err)
		}
	}
	m, err := h.runtime.Load(ctx, binary, o)
	if err != nil {
		return nil, cfg.Root().Errorf(path, "%v", err)
	}
	p := &plugin{module: m}
	h.plugins[name] = p
	return p, nil
}

// readModule reads a module that is not larger than one may be.
func readModule(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", path)
	case info.Size() > wasmhost.MaxModule:
		return nil, storage.LimitError(storage.SizeLimit, "module bytes", wasmhost.MaxModule, info.Size())
	}
	return os.ReadFile(path)
}
