package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/plinthkv/plinth/internal/private"
	"github.com/plinthkv/plinth/storage"
)

// Runtime keeps the compiled code of modules, which share it. It is safe for concurrent
// use.
type Runtime struct {
	dir    string // if empty, nothing is kept
	unkept error  // why, although a directory was given
	warned sync.Once

	compiler Compiler // if nil, this process compiles
}

// knowVersion works around a data race in wazero, which caches its own version on first
// use without a lock: it makes that first use before any concurrent one.
var knowVersion = sync.OnceFunc(func() {
	ctx := context.Background()
	_ = wazero.NewRuntime(ctx).Close(ctx) // nothing is in it
})

// NewRuntime returns a Runtime that caches compiled code in cacheDir, so that the next
// start need not compile again. If cacheDir is empty, code stays in memory only. The
// cache contains native code that is executed unchecked, so a directory that others than
// this user can write to is refused. If the directory is unusable for another reason,
// nothing is cached.
func NewRuntime(_ context.Context, cacheDir string) (*Runtime, error) {
	knowVersion()
	r := &Runtime{dir: cacheDir}
	if cacheDir == "" {
		return r, nil
	}
	if err := os.MkdirAll(cacheDir, 0o700); err != nil {
		r.dir, r.unkept = "", err
		return r, nil
	}
	if err := CheckCacheDir(cacheDir); err != nil {
		return nil, err
	}
	forget(cacheDir, time.Now())
	return r, nil
}

// compile compiles binary, or reads its cached code. If the cache cannot be read or
// written, that is logged, and the module is compiled.
func (r *Runtime) compile(ctx context.Context, binary []byte, o *Options) (*engine, error) {
	if r.unkept != nil {
		r.warned.Do(func() { o.Log.Warn("cannot cache compiled code: every start compiles", "error", r.unkept) })
	}
	dir, elsewhere := r.dir, r.compiler != nil && !o.Trusted
	if dir == "" && elsewhere {
		tmp, err := os.MkdirTemp("", "plinth-compile")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	}
	if dir == "" {
		return compile(ctx, binary, o, "")
	}
	k := keptIn(dir, binary, o.Trusted)
	whole, damaged, err := k.verify()
	if damaged {
		o.Log.Warn("damaged compiled code was removed from the cache; compiling the module again", "folder", k.dir)
	}
	if err == nil && elsewhere && !whole {
		if err := r.elsewhere(ctx, binary, o, k.dir); errors.Is(err, storage.ErrInvalidArgument) {
			return nil, err
		} else if err != nil {
			o.Log.Warn("compiling the module in this process, because another process failed", "error", err)
		}
	}
	if err == nil {
		var e *engine
		if e, err = compile(ctx, binary, o, k.dir); err == nil {
			if err := k.list(); err != nil {
				o.Log.Warn("cannot cache compiled code: the next start compiles again", "error", err)
			}
			return e, nil
		}
	}
	// It may be the cache, or the module.
	e, failed := compile(ctx, binary, o, "")
	if failed == nil {
		o.Log.Warn("cannot cache compiled code: every start compiles", "error", err)
	}
	return e, failed
}

// Close does nothing: modules release their compiled code.
func (r *Runtime) Close(context.Context) error { return nil }

// CheckCacheDir makes dir, and refuses it unless it is private to this user: see
// [private.Dir].
func CheckCacheDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("compilation cache: %w", err)
	}
	if err := private.Dir(dir); err != nil {
		return fmt.Errorf("compilation cache: %w: it contains native code that is executed unchecked", err)
	}
	return nil
}
