package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/storage"
)

// The carriers of a backend.
const (
	CarrierWasm    = "wasm"    // a module in this process
	CarrierProcess = "process" // a process of its own
	CarrierRemote  = "remote"  // another host, over gRPC
)

// remoteBackend is what a store says of a backend on another host.
type remoteBackend struct {
	Store string `yaml:"store"` // its name there; empty: the only one
}

// openRemote connects to a store of another host. That others write there too is
// taken as given.
func (h *Host) openRemote(ctx context.Context, cfg *config.Config, store string, p *plugin) (*backend, error) {
	if p.unreachable {
		return nil, nil // it has been reported
	}
	bc := cfg.Stores[store].Backend
	var own remoteBackend
	if err := bc.Config.Decode(&own); err != nil {
		return nil, err
	}
	c := p.remote
	c.Store = own.Store
	b, err := client.Dial(ctx, c, client.Settings{Clock: h.clock.Now, Log: h.settings.Log.With("store", store),
		Tracer: h.settings.Tracer, Meter: h.settings.Meter})
	if err != nil {
		return nil, p.refused(cfg, bc, store, err)
	}
	opened := &backend{Backend: b, hub: h.hub(b), shared: true}
	b.WhenLost(opened.hub.StateLost)
	h.backends = append(h.backends, opened)
	return opened, nil
}

// refused gives the error of a connection its position: that of the store's name,
// of the token, or of the address.
func (p *plugin) refused(cfg *config.Config, bc config.Backend, store string, err error) error {
	at := "plugins." + bc.Plugin
	switch e := storage.AsError(err); {
	case e.Code == storage.InvalidArgument && e.ConfigPath != "":
		return configError(cfg, bc.Config, fmt.Sprintf("stores.%s.backend.config", store), err)
	case errors.Is(err, storage.ErrUnauthenticated) || errors.Is(err, storage.ErrPermissionDenied):
		at += ".token"
	case e.Code == storage.Unavailable:
		at += ".remote"
	}
	p.unreachable = true
	return cfg.Root().Errorf(at, "%v", err)
}

// remoteConfig is how the remote of a plugin is reached.
func remoteConfig(pc config.Plugin) client.Config {
	return client.Config{
		Address: pc.Remote, Token: pc.Token, ConnectTimeout: time.Duration(pc.ConnectTimeout), Attempts: pc.Attempts,
		TLS: client.TLS{CA: pc.TLS.CA, Cert: pc.TLS.Cert, Key: pc.TLS.Key, ServerName: pc.TLS.ServerName},
	}
}
