//go:build !unix

package isolate

import (
	"syscall"

	"github.com/plinthkv/plinth/storage"
)

func attributes() *syscall.SysProcAttr { return nil }

// set refuses: nothing bounds a process here.
func (Bounds) set() error {
	return storage.Errorf(storage.Unsupported, "limits on compiling require Unix")
}
