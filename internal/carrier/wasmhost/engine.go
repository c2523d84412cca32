package wasmhost

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"
)

// engine is a compiled module with its runtime. Each module has its own, so
// that its compiled code is a folder of its own in the cache.
type engine struct {
	cache    wazero.CompilationCache
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	// plain compiles the shims: without the checks that make loops interruptible. Both
	// are nil if the module is trusted.
	plain wazero.Runtime
	shims [2]wazero.CompiledModule
}

// compile compiles binary. dir is the folder for compiled code; it is optional.
func compile(ctx context.Context, binary []byte, o *Options, dir string) (_ *engine, err error) {
	e := &engine{cache: wazero.NewCompilationCache()}
	if dir != "" {
		if e.cache, err = wazero.NewCompilationCacheWithDir(dir); err != nil {
			return nil, err
		}
	}
	defer func() {
		// Code from the cache was verified; should wazero panic all the same, compile
		// without the cache.
		if r := recover(); r != nil && dir != "" {
			err = fmt.Errorf("compiled code cannot be read: %v", r)
		} else if r != nil {
			panic(r)
		}
		if err != nil {
			_ = e.close(ctx) // a part of it is of no use
		}
	}()
	e.runtime = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().
		WithCompilationCache(e.cache).
		WithMemoryLimitPages(uint32(o.Memory/pageSize)).
		WithCloseOnContextDone(!o.Trusted))
	if err := alignTypes(ctx, e.runtime); err != nil {
		return nil, err
	}
	if e.compiled, err = e.runtime.CompileModule(ctx, binary); err != nil {
		return nil, err
	}
	if o.Trusted {
		return e, nil
	}
	e.plain = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCompilationCache(e.cache))
	if err := alignTypes(ctx, e.plain); err != nil {
		return nil, err
	}
	for i := range e.shims {
		if e.shims[i], err = e.plain.CompileModule(ctx, shimModule(i == withGet)); err != nil {
			return nil, fmt.Errorf("shim: %w", err)
		}
	}
	return e, nil
}

func (e *engine) close(ctx context.Context) (err error) {
	for _, r := range []wazero.Runtime{e.plain, e.runtime} {
		if r != nil {
			if failed := r.Close(ctx); err == nil {
				err = failed
			}
		}
	}
	if failed := e.cache.Close(ctx); err == nil {
		err = failed
	}
	return err
}
