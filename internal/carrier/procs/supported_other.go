//go:build !unix

package procs

import (
	"context"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/storage"
)

// supported returns why this system has no plugins as processes.
func supported() error {
	return storage.Errorf(storage.Unsupported, "plugins as processes require Unix")
}

func canLimit() error { return supported() }

// Backend is none: a [Plugin] cannot be made on this system.
type Backend struct{ carrier.Backend }

// Raw refuses.
func (*Backend) Raw(context.Context, []byte) ([]byte, error) { return nil, supported() }

// Transport returns "".
func (*Backend) Transport() string { return "" }

// Stated returns no limits.
func (*Backend) Stated() storage.Limits { return storage.Limits{} }

// Kill has nothing to end.
func (*Backend) Kill() {}

// Open refuses.
func (*Plugin) Open(context.Context, string, []byte) (*Backend, error) { return nil, supported() }

// Try refuses.
func (*Plugin) Try(context.Context, []byte) (storage.Info, error) {
	return storage.Info{}, supported()
}

func noexec(string) bool     { return false }
func onNoexec(string) string { return "" }
