//go:build !unix

package process

import (
	"context"
	"fmt"
	"os"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// Serve prints that this system does not support plugins as processes, and exits with
// code 1.
func Serve(open sdk.Opener, atEnd ...func(context.Context) error) {
	Plugin{Open: open, AtEnd: atEnd}.Serve()
}

// Plugin configures a process on Unix.
type Plugin struct {
	Open  sdk.Opener
	Try   func(ctx context.Context, env sdk.Env) (storage.Info, error)
	AtEnd []func(context.Context) error
}

// Serve prints that this system does not support plugins as processes, and exits with
// code 1.
func (Plugin) Serve() {
	fmt.Fprintln(os.Stderr, "plugins as processes require Unix")
	os.Exit(1)
}
