package plinth_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// The secrets of a backend that a program links in are those that its configuration is
// tagged with: they are in no configuration that is shown, and in no error.
func TestSecretsOfLinkedBackends(t *testing.T) {
	type config struct {
		Pin string `json:"pin" secret:"true"`
	}
	open := func(_ context.Context, env sdk.Env) (storage.Backend, error) {
		var c config
		if err := sdk.DecodeConfig(env.Config, &c); err != nil {
			return nil, err
		}
		return nil, errors.New("the server does not know " + c.Pin)
	}
	opts := []plinth.Option{plinth.WithBackend("db", open, plinth.Secrets(config{})),
		plinth.WithContent([]byte("stores: { a: { backend: { plugin: db, config: { pin: opensesame } } } }"))}
	cfg, err := plinth.Load("", opts...)
	if err != nil {
		t.Fatal(err)
	}
	if shown, err := cfg.YAML(); err != nil || strings.Contains(string(shown), "opensesame") || !strings.Contains(string(shown), "pin: (hidden)") {
		t.Errorf("%v, shown as\n%s", err, shown)
	}
	h, err := plinth.OpenConfig(t.Context(), cfg, opts...)
	if err == nil || strings.Contains(err.Error(), "opensesame") || !strings.Contains(err.Error(), "does not know (hidden)") {
		t.Errorf("opened: %v, %v", h, err)
	}
}
