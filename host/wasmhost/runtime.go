package wasmhost

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/tetratelabs/wazero"
)

// Runtime is what modules share: the cache of compiled code. It is safe for
// concurrent use.
type Runtime struct {
	cache wazero.CompilationCache
	// plain compiles the shims: without the checks that make loops interruptible.
	plain wazero.Runtime
	shims [2]wazero.CompiledModule

	closing sync.Once
	err     error
}

// knowVersion has wazero look up its own version before anybody asks for it beside
// somebody else: the first who asks notes it for all, without a lock.
var knowVersion = sync.OnceFunc(func() {
	ctx := context.Background()
	_ = wazero.NewRuntime(ctx).Close(ctx) // nothing is in it
})

// NewRuntime makes a Runtime. Compiled code is kept in cacheDir, so that the
// next start needs not compile again; empty: in memory only. The cache is
// native code that is run as it is found: a directory that others than this
// user can write to is refused.
func NewRuntime(ctx context.Context, cacheDir string) (*Runtime, error) {
	knowVersion()
	r := &Runtime{cache: wazero.NewCompilationCache()}
	if cacheDir != "" {
		if err := CheckCacheDir(cacheDir); err != nil {
			return nil, err
		}
		cache, err := wazero.NewCompilationCacheWithDir(cacheDir)
		if err != nil {
			return nil, fmt.Errorf("compilation cache: %w", err)
		}
		r.cache = cache
	}
	r.plain = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCompilationCache(r.cache))
	if err := alignTypes(ctx, r.plain); err != nil {
		r.Close(ctx)
		return nil, err
	}
	for i := range r.shims {
		shim, err := r.plain.CompileModule(ctx, shimModule(i == withGet))
		if err != nil {
			r.Close(ctx)
			return nil, fmt.Errorf("shim: %w", err)
		}
		r.shims[i] = shim
	}
	return r, nil
}

// Close releases the compiled code. Every Module must be closed before.
func (r *Runtime) Close(ctx context.Context) error {
	r.closing.Do(func() {
		r.err = r.plain.Close(ctx)
		if err := r.cache.Close(ctx); r.err == nil {
			r.err = err
		}
	})
	return r.err
}

// CheckCacheDir makes dir, and refuses one that others can write to, or could put
// another in the place of: no directory above it may be theirs to write, but for
// those like /tmp, where each can rename only what is their own.
func CheckCacheDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("compilation cache: %w", err)
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return fmt.Errorf("compilation cache: %w", err)
	}
	for d, last := dir, ""; d != last; d, last = filepath.Dir(d), d {
		info, err := os.Stat(d)
		if err != nil {
			return fmt.Errorf("compilation cache: %w", err)
		}
		sticky := info.Mode()&os.ModeSticky != 0 && d != dir
		if runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 && !sticky {
			return fmt.Errorf("compilation cache: %s can be written by others (mode %v): it holds native code that is run as it is found", d, info.Mode().Perm())
		}
		if err := ownedByUs(d, info); err != nil && d == dir {
			return fmt.Errorf("compilation cache: %w", err)
		}
	}
	return nil
}
