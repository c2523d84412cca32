package native

import (
	"context"
	"errors"
	"time"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/storage"
)

// Config configures a linked-in backend that runs in the host's process.
type Config struct {
	// Isolation is "none" for the process of the host, or "process" for a separate
	// process, which can be killed and does not affect others when it fails. By default
	// the program decides.
	Isolation string `yaml:"isolation"`
	Grants    Grants `yaml:"grants"` // access to its surroundings

	carrier.Loss `yaml:",inline"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{Loss: carrier.DefaultLoss()} }

// Grants are the granted resources of a backend.
type Grants struct {
	Dir string `yaml:"dir"` // folder for its files, relative to the folder of the configuration file; each store has its own folder in it; by default none
}

// Validate checks the choices.
func (c *Config) Validate() error {
	return errors.Join(carrier.CheckIsolation(c.Isolation), c.Loss.Validate())
}

// Factory makes the carriers of linked-in backends.
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

// tryTime limits how long a judgement of a configuration may take.
const tryTime = 30 * time.Second

// Try returns the Info that the backend would have with a configuration.
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
	b := &Backend{n: n, log: n.plugin.Log, config: secret.New(raw)}
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
