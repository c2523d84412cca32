package isolate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

// compiles is the value of [carrier.WorkerVariable] for a worker that compiles a module and ends.
const compiles = "compile"

// Bounds limits what compiling a module may take.
type Bounds struct {
	Memory int64 // bytes
	Time   time.Duration
}

// DefaultBounds returns bounds far above what the largest modules of compilers need, and
// far below what a module of 80 KB can demand.
func DefaultBounds() Bounds { return Bounds{Memory: 1 << 30, Time: time.Minute} }

// order is the task of a worker that compiles.
type order struct {
	Job    wasmhost.CompileJob `json:"job"`
	Bounds Bounds              `json:"bounds"`
}

// Exit codes of a worker that compiles.
const (
	codeRefused = 4 // the module is to blame: standard output says why
	codeFailed  = 5
)

// Compiler compiles modules by workers that are started with that command, within b.
func Compiler(command []string, b Bounds) wasmhost.Compiler {
	return func(ctx context.Context, job wasmhost.CompileJob) error {
		input, err := json.Marshal(order{job, b})
		if err != nil {
			return err
		}
		within, cancel := context.WithTimeout(ctx, b.Time)
		defer cancel()
		cmd := exec.CommandContext(within, command[0], command[1:]...)
		var out, said bytes.Buffer
		cmd.Env = []string{carrier.WorkerVariable + "=" + compiles, "GORACE=atexit_sleep_ms=0"}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &said
		cmd.SysProcAttr = attributes()
		err = cmd.Run()
		var exit *exec.ExitError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return storage.ContextError(ctx)
		case within.Err() != nil:
			return storage.Errorf(storage.InvalidArgument, "compiling the module takes more than %s", b.Time)
		case !errors.As(err, &exit):
			return err
		case exit.ExitCode() == codeRefused:
			return storage.Errorf(storage.InvalidArgument, "%s", strings.TrimSpace(out.String()))
		case exit.ExitCode() == codeFailed:
			return errors.New(strings.TrimSpace(out.String()))
		case carrier.OutOfMemory(said.String()):
			return storage.Errorf(storage.InvalidArgument, "compiling the module takes more than %d MiB of memory", b.Memory>>20)
		}
		first, _, _ := strings.Cut(said.String(), "\n")
		return storage.Errorf(storage.InvalidArgument, "compiling the module crashed the compiler: %v: %.200s", exit, first)
	}
}

// runCompiler runs the worker. It does not return.
func runCompiler() {
	var o order
	err := json.NewDecoder(os.Stdin).Decode(&o)
	if err == nil {
		err = o.Bounds.set()
	}
	if err == nil {
		err = o.Job.Run(context.Background())
	}
	switch {
	case errors.Is(err, storage.ErrInvalidArgument):
		fmt.Println(err)
		os.Exit(codeRefused)
	case err != nil:
		fmt.Println(err)
		os.Exit(codeFailed)
	}
	os.Exit(0)
}
