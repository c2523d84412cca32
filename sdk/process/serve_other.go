//go:build !unix

package process

import (
	"context"
	"fmt"
	"os"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// Serve says that this system has no plugins as processes, and exits with code 1.
func Serve(open sdk.Opener, atEnd ...func(context.Context) error) {
	Plugin{Open: open, AtEnd: atEnd}.Serve()
}

// Plugin is what a process serves where there is Unix.
type Plugin struct {
	Open  sdk.Opener
	Try   func(ctx context.Context, env sdk.Env) (storage.Info, error)
	AtEnd []func(context.Context) error
}

// Serve says that this system has no plugins as processes, and exits with code 1.
func (Plugin) Serve() {
	fmt.Fprintln(os.Stderr, "plugins as processes need Unix")
	os.Exit(1)
}
