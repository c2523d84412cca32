//go:build unix

package procs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/storage"
)

// process is a process that go-plugin has started. Differently from its own, it
// gives the process a pipe as standard input by which it notices that the host is
// gone, ends all that the process has started together with it, and knows that it
// has ended although another process holds its output open.
type process struct {
	out    *output
	cmd    *exec.Cmd
	secure bool     // its connection is to be encrypted
	memory uint64   // limit in bytes, or 0
	stdin  *os.File // its end is the end of the host
	stdout *os.File
	stderr *os.File
	greets *io.PipeReader
	hello  *io.PipeWriter

	mu     sync.Mutex
	began  bool
	killed bool // it must not begin
	ours   bool // it was killed by this host
	reaped bool // its number may be another's

	readers sync.WaitGroup
	exited  chan struct{}
	err     error // after exited: why it ended; nil after code 0
	greeted error // why its first line was none, after exited
}

var _ runner.Runner = (*process)(nil)

// lastWords limits how long the output of a process that has ended is waited for.
const lastWords = 200 * time.Millisecond

// telemetryFile is in the folder of a run, which goes with the process.
const telemetryFile = "telemetry.yaml"

// newProcess returns a process that is yet to be started, and to be given go-plugin's
// part of its environment.
func newProcess(p *Plugin, out *output, runDir, dir string) *process {
	r := &process{out: out, exited: make(chan struct{})}
	r.memory, r.secure = p.opts.Limit, !p.opts.Plaintext
	r.greets, r.hello = io.Pipe()
	r.cmd = &exec.Cmd{Path: p.path, Args: p.opts.Command, Dir: dir, Env: []string{abi.RunDirKey + "=" + runDir, abi.LevelKey + "=" + lowest(p.opts.Log)}, SysProcAttr: attributes()}
	if p.opts.Telemetry != nil {
		r.cmd.Env = append(r.cmd.Env, "OTEL_CONFIG_FILE="+filepath.Join(runDir, telemetryFile))
	}
	for name, value := range p.opts.Env {
		r.cmd.Env = append(r.cmd.Env, name+"="+value.Reveal())
	}
	return r
}

// lowest returns the lowest level that is logged.
func lowest(log *slog.Logger) string {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if log.Enabled(context.Background(), level) {
			return strings.ToLower(level.String())
		}
	}
	return "error"
}

// Start starts the process.
func (r *process) Start(ctx context.Context) (err error) {
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			r.closeOurs()
			r.hello.Close()
			close(r.exited)
		}
	}()
	pipe := func(reads bool) (ours, other *os.File) {
		if err != nil {
			return nil, nil
		}
		var from, to *os.File
		if from, to, err = os.Pipe(); err != nil {
			return nil, nil
		}
		if reads {
			ours, other = from, to
		} else {
			ours, other = to, from
		}
		theirs = append(theirs, other)
		return ours, other
	}
	var stdin, stdout, stderr *os.File
	r.stdin, stdin = pipe(false)
	r.stdout, stdout = pipe(true)
	r.stderr, stderr = pipe(true)
	if err != nil {
		return err
	}
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = stdin, stdout, stderr
	if err := r.begin(); err != nil {
		return err
	}
	r.readers.Go(func() { r.greeted = r.out.hello(r.stdout, r.hello, r.secure) })
	r.readers.Go(func() { r.out.lines(bufio.NewReaderSize(r.stderr, mostLine), slog.LevelInfo) })
	go r.reap()
	return nil
}

// begin starts the process, unless it was killed before.
func (r *process) begin() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.killed {
		return errors.New("killed before its start")
	}
	if err := r.cmd.Start(); err != nil {
		return notStarted(r.cmd.Path, err)
	}
	r.began, r.cmd.Env = true, nil // it may hold secrets
	if err := r.limit(r.memory); err != nil {
		r.killAll()
		return fmt.Errorf("limits.memory: %w", err)
	}
	return nil
}

// runs reports whether the process was started.
func (r *process) runs() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.began
}

// reap waits for the end of the process, and ends the processes that it leaves behind.
func (r *process) reap() {
	r.err = r.waitFor()
	silent := make(chan struct{})
	go func() {
		defer close(silent)
		r.readers.Wait()
	}()
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-silent:
	case <-timer.C: // a process that it has started outside of its group holds its output
	}
	r.closeOurs()
	<-silent
	close(r.exited)
}

func (r *process) closeOurs() {
	for _, f := range []*os.File{r.stdin, r.stdout, r.stderr} {
		if f != nil {
			f.Close()
		}
	}
}

// killAll ends the process and all that it has started.
func (r *process) killAll() {
	_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL) // it fails when no process is left
}

// end closes the standard input of the process, which asks it to end.
func (r *process) end() { r.stdin.Close() }

// Kill ends the process at once, and waits for its end. One that has not begun will
// not.
func (r *process) Kill(context.Context) error {
	r.mu.Lock()
	r.killed = true
	began := r.began
	if began && !r.reaped {
		r.ours = true
		r.killAll()
	}
	r.mu.Unlock()
	if began {
		<-r.exited
	}
	return nil
}

// Wait waits for the end of the process.
func (r *process) Wait(context.Context) error {
	<-r.exited
	return r.err
}

// Stdout returns the line by which the process says where it is.
func (r *process) Stdout() io.ReadCloser { return r.greets }

// Stderr returns an empty reader: what the process prints is logged here.
func (r *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name returns the executable.
func (r *process) Name() string { return r.cmd.Path }

// ID returns the number of the process.
func (r *process) ID() string {
	if !r.runs() {
		return ""
	}
	return strconv.Itoa(r.cmd.Process.Pid)
}

// Diagnose has nothing to add.
func (r *process) Diagnose(context.Context) string { return "" }

// PluginToHost returns the same address: the process runs here.
func (r *process) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" {
		return "", "", fmt.Errorf("listens on %.20q, expected a unix socket", network)
	}
	return network, address, nil
}

// HostToPlugin returns the same address.
func (r *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// ending says how the process has ended, after it has.
func (r *process) ending() string {
	if r.memory > 0 && carrier.OutOfMemory(r.out.words()) {
		return fmt.Sprintf("%s: out of memory (limits.memory is %d bytes)", r.exit(), r.memory)
	}
	return r.exit()
}

func (r *process) exit() string {
	var exit *exec.ExitError
	switch {
	case r.err == nil:
		return "it ended: exit status 0"
	case errors.As(r.err, &exit):
		return "it ended: " + exit.String()
	}
	return r.err.Error()
}

// starved reports whether the process has ended because of its limit of memory, after it has,
// before it was ready: a program whose runtime gets no memory may end before it can say so.
func (r *process) starved() bool {
	if r.memory == 0 || !r.runs() {
		return false
	}
	var exit *exec.ExitError
	if errors.As(r.err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			switch status.Signal() {
			case syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGABRT, syscall.SIGTRAP:
				return true
			}
		}
	}
	return carrier.OutOfMemory(r.out.words())
}

// killedByOthers reports whether the process, which has ended, was killed by something
// else than this host: an operator, or the system when memory is short.
func (r *process) killedByOthers() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var exit *exec.ExitError
	if r.ours || !errors.As(r.err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// tooLittle returns why a process that starved was not started.
func (r *process) tooLittle() error {
	return &carrier.FieldError{Path: "limits.memory", Err: storage.Errorf(storage.Unavailable,
		"limits.memory is %d bytes, too little for the plugin to start (%s)", r.memory, r.exit())}
}
