package native

import (
	"context"
	"errors"
	"time"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/storage"
)

// Config is a backend that is linked in, and runs in this process.
type Config struct {
	// Isolation is "none" for the process of the host, and "process" for one of its
	// own, which can be killed, and takes nobody along when it fails; "": as the
	// backend was linked in.
	Isolation string `yaml:"isolation"`
	Grants    Grants `yaml:"grants"` // what it may use of its surroundings

	carrier.Loss `yaml:",inline"`
}

// DefaultConfig is what stands where a configuration is silent.
func DefaultConfig() Config { return Config{Loss: carrier.DefaultLoss()} }

// Grants are what a backend is given.
type Grants struct {
	Dir string `yaml:"dir"` // where it keeps its files, from the folder of the file: each store has a folder of its own in it; "": nowhere
}

// Validate checks the choices.
func (c *Config) Validate() error {
	return errors.Join(carrier.CheckIsolation(c.Isolation), c.Loss.Validate())
}

// Factory makes the carriers of what is linked in.
func Factory() carrier.Factory {
	return carrier.NewFactory("", false, "linked-in backend", DefaultConfig(), func(_ context.Context, p carrier.Plugin, c Config) (carrier.Carrier, error) {
		return &native{p, c}, nil
	})
}

type native struct {
	plugin carrier.Plugin
	config Config
}

func (*native) Kind() string                { return carrier.Native }
func (n *native) Shared() bool              { return n.plugin.Linked.Shared }
func (*native) Close(context.Context) error { return nil }

// HasFolder reports whether the backends keep files.
func (n *native) HasFolder() bool { return n.config.Grants.Dir != "" }

// tryTime is how long a judgement of a configuration may take.
const tryTime = 30 * time.Second

// Try has the backend say what it would be with a configuration.
func (n *native) Try(ctx context.Context, config carrier.Config) (info storage.Info, err error) {
	if n.plugin.Linked.Try == nil {
		return info, storage.Errorf(storage.Unsupported, "the backend cannot judge a configuration without being opened")
	}
	raw, err := config.JSON()
	if err != nil {
		return info, err
	}
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	b := &Backend{n: n, log: n.plugin.Log, config: raw}
	var panicked error
	func() {
		defer caught(&panicked)
		info, err = n.plugin.Linked.Try(ctx, b.env())
	}()
	if err = errors.Join(panicked, err); err != nil {
		return info, carrier.Wrap(n.plugin.Name, err)
	}
	return info, nil
}
