package wasmhost

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/plinthkv/plinth/storage"
)

// Compiler compiles a module in a process of its own, by [CompileJob.Run] there, with
// bounds of memory and time. An error that is InvalidArgument is the module's; any other
// means that nothing could be compiled there.
type Compiler func(ctx context.Context, job CompileJob) error

// CompileJob describes a module to be compiled into a folder, where a process that loads
// the same module finds it.
type CompileJob struct {
	File    string `json:"file"` // of the module, as it is compiled
	Dir     string `json:"dir"`
	Memory  uint64 `json:"memory"`  // of its instances
	Trusted bool   `json:"trusted"` // without checks for interruption
}

// Run compiles the module.
func (j *CompileJob) Run(ctx context.Context) error {
	knowVersion()
	binary, err := os.ReadFile(j.File)
	if err != nil {
		return err
	}
	e, err := compile(ctx, binary, &Options{Memory: j.Memory, Trusted: j.Trusted}, j.Dir)
	if err == nil {
		return e.close(ctx)
	}
	if _, failed := compile(ctx, binary, &Options{Memory: j.Memory, Trusted: j.Trusted}, ""); failed != nil {
		return storage.Errorf(storage.InvalidArgument, "%v", failed)
	}
	return err // the folder's
}

// CompileBy has modules that are not trusted compiled by c. Without it they are compiled in
// this process, where only the bounds on what a module declares hold.
func (r *Runtime) CompileBy(c Compiler) { r.compiler = c }

// elsewhere has the module compiled into dir by another process.
func (r *Runtime) elsewhere(ctx context.Context, binary []byte, o *Options, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "module.*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(binary); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	path, err := filepath.Abs(f.Name())
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	return r.compiler(ctx, CompileJob{File: path, Dir: dir, Memory: o.Memory, Trusted: o.Trusted})
}
