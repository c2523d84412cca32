package native

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"strings"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/isolate"
	"github.com/plinthkv/plinth/internal/carrier/procs"
	"github.com/plinthkv/plinth/sdk/process"
)

// ProcessConfig configures a linked-in backend that runs in a separate process, the
// program's worker.
type ProcessConfig struct {
	Isolation string        `yaml:"isolation"` // "process"; by default the program decides
	Process   procs.Running `yaml:"process"`   // how it is called, and its time limits

	procs.Common `yaml:",inline"`
}

// DefaultProcessConfig returns the defaults. The program's own backends are granted
// telemetry.
func DefaultProcessConfig() ProcessConfig {
	c := ProcessConfig{Process: procs.DefaultRunning(), Common: procs.DefaultCommon()}
	c.Grants.Telemetry = true
	return c
}

// Validate checks the choices.
func (c *ProcessConfig) Validate() error {
	return errors.Join(carrier.CheckIsolation(c.Isolation), c.Loss.Validate())
}

// prefix is what a worker's variable begins with, before the name of the backend.
const prefix = "backend:"

// ProcessFactory makes the carriers of linked-in backends that run as processes.
func ProcessFactory() carrier.Factory {
	return carrier.NewFactory("", true, "linked-in backend", DefaultProcessConfig(), func(_ context.Context, p carrier.Plugin, c ProcessConfig) (carrier.Carrier, error) {
		if len(p.Worker) == 0 {
			return nil, isolate.NoWorker()
		}
		process, err := procs.New(c.options(p))
		if err != nil {
			return nil, &carrier.FieldError{Err: err}
		}
		return procs.Carry(process, p.Linked.Shared), nil
	})
}

// options returns those of the worker.
func (c *ProcessConfig) options(p carrier.Plugin) procs.Options {
	o := c.Options(p, c.Process)
	o.Command = p.Worker
	own := carrier.Env{}
	maps.Copy(own, o.Env)
	maps.Copy(own, carrier.EnvOf(WorkerEnv(p.Name)))
	o.Env = own
	return o
}

// WorkerEnv returns the environment that makes a program the worker of one of its linked-in
// backends.
func WorkerEnv(name string) map[string]string {
	return map[string]string{carrier.WorkerVariable: prefix + name}
}

// Run runs the worker of a backend that is linked in, if this process was started as one:
// then it does not return.
func Run(linked map[string]*carrier.Linked) {
	name, is := strings.CutPrefix(os.Getenv(carrier.WorkerVariable), prefix)
	if !is {
		return
	}
	l, ok := linked[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "this program has no backend %.100q: pass its linked-in backends to RunWorker too\n", name)
		os.Exit(1)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		// A goroutine that comes back from the disk waits for a processor, behind all that
		// answer callers. With one more for the scheduler than there are, it seldom does.
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
	if l.Serve != nil {
		l.Serve()
	}
	process.Plugin{Open: l.Open, Try: l.Try}.Serve()
}
