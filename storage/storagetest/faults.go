package storagetest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Call names a method of a backend that can fail.
type Call uint8

// The calls.
const (
	CallGet Call = iota
	CallGetMany
	CallScan
	CallApply
	CallHealth
	CallChanges

	calls
)

// Fault describes something that goes wrong, for tests of the layers above.
type Fault struct {
	// Calls lists the calls that it happens to. If empty, every call.
	Calls []Call
	// After counts the calls that succeed first.
	After int
	// Times counts the calls that it happens to then. If zero, all that follow.
	Times int
	// Err holds the error of a call. If nil, the call returns what it would have returned.
	Err error
	// Applied has the call be done all the same, so that Err is a lie: what
	// really happens when an answer is lost on its way.
	Applied bool
	// Delay and Hold are latency: a time, and a channel to be closed. The end of
	// the call's context ends both.
	Delay time.Duration
	Hold  <-chan struct{}
	// Late has the call be done first and its answer be kept back, so that what it
	// says may be outdated when it comes.
	Late bool
}

// Faults fails the calls that it is set to fail, and passes on everything else. It is safe
// for concurrent use.
type Faults struct {
	next storage.Backend

	mu     sync.Mutex
	faults []Fault
	met    []int // calls that each of faults is about, so far
	made   [calls]int
	failed [calls]int
}

// NewFaults returns next with the faults given.
func NewFaults(next storage.Backend, faults ...Fault) *Faults {
	f := &Faults{next: next}
	f.Set(faults...)
	return f
}

// Set puts other faults in place of those before, and counts for them from 0. Of
// several that are due, the first happens.
func (f *Faults) Set(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults, f.met = slices.Clone(faults), make([]int, len(faults))
}

// Made returns how many calls there were, those that failed included.
func (f *Faults) Made(c Call) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made[c]
}

// Failed returns how many calls returned the Err of a fault.
func (f *Faults) Failed(c Call) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed[c]
}

// due counts a call and is the fault that happens to it; the zero one: none.
func (f *Faults) due(c Call) (due Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made[c]++
	found := false
	for i, fault := range f.faults {
		if len(fault.Calls) > 0 && !slices.Contains(fault.Calls, c) {
			continue
		}
		n := f.met[i]
		f.met[i]++
		if !found && n >= fault.After && (fault.Times == 0 || n < fault.After+fault.Times) {
			due, found = fault, true
		}
	}
	if due.Err != nil {
		f.failed[c]++
	}
	return due
}

func (d *Fault) wait(ctx context.Context) error {
	if d.Delay > 0 {
		timer := time.NewTimer(d.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return storage.ContextError(ctx)
		}
	}
	if d.Hold != nil {
		select {
		case <-d.Hold:
		case <-ctx.Done():
			return storage.ContextError(ctx)
		}
	}
	return nil
}

// with makes a call under the fault that is due.
func with[A any](ctx context.Context, f *Faults, c Call, do func() (A, error)) (answer A, err error) {
	due := f.due(c)
	var none A
	if !due.Late {
		if err := due.wait(ctx); err != nil {
			return none, err
		}
	}
	if due.Err == nil || due.Applied {
		answer, err = do()
	}
	if due.Late {
		if err := due.wait(ctx); err != nil {
			if c == CallApply { // it was done, and its outcome is lost
				e := *storage.AsError(err)
				e.Unknown = true
				err = &e
			}
			return none, err
		}
	}
	if due.Err != nil {
		return none, due.Err
	}
	return answer, err
}

// Get calls next's Get, under the faults.
func (f *Faults) Get(ctx context.Context, key []byte) (storage.Item, error) {
	return with(ctx, f, CallGet, func() (storage.Item, error) { return f.next.Get(ctx, key) })
}

// GetMany calls next's GetMany, under the faults.
func (f *Faults) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	return with(ctx, f, CallGetMany, func() ([]storage.Item, error) { return f.next.GetMany(ctx, keys) })
}

// Scan calls next's Scan, under the faults.
func (f *Faults) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	return with(ctx, f, CallScan, func() (storage.Page, error) { return f.next.Scan(ctx, q) })
}

// Changes calls next's Changes, under the faults.
func (f *Faults) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	return with(ctx, f, CallChanges, func() (storage.ChangePage, error) { return f.next.Changes(ctx, q) })
}

// Apply calls next's Apply, under the faults.
func (f *Faults) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	return with(ctx, f, CallApply, func() (uint64, error) { return f.next.Apply(ctx, w) })
}

// Health calls next's Health, under the faults.
func (f *Faults) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return with(ctx, f, CallHealth, func() (storage.Health, error) { return f.next.Health(ctx, p) })
}

// Info returns next's Info.
func (f *Faults) Info() storage.Info { return f.next.Info() }

// Close closes next.
func (f *Faults) Close(ctx context.Context) error { return f.next.Close(ctx) }

var _ storage.Backend = (*Faults)(nil)
