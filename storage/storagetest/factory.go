package storagetest

import (
	"context"
	"fmt"

	"github.com/plinthkv/plinth/storage"
)

// Factory opens backends for the kit. Clock and Open must be set.
type Factory struct {
	// Clock gives the backends their time. The kit moves it.
	Clock *Clock
	// Open returns a backend that is fresh and empty. The kit closes it, so that
	// a stack whose outermost layer does not own what is below it needs [WithClose].
	Open func(ctx context.Context) (storage.Backend, error)
	// Reopen returns, after its Close, the last backend that was opened, as it is after a
	// restart: with all its data if it is durable. By default, Open.
	Reopen func(ctx context.Context) (storage.Backend, error)
	// Crash returns the last backend that was opened as it is after a crash, with whatever
	// was acknowledged: it is called without a Close before, while calls may be going on,
	// and makes sure that the old one no longer writes. If nil, durable backends are tried
	// with Reopen alone.
	Crash func(ctx context.Context) (storage.Backend, error)
	// Full returns a backend that is fresh and empty, with room for some MiB alone, at most
	// 256: for what happens when its space ends. If nil, that is not tried.
	Full func(ctx context.Context) (storage.Backend, error)
	// Ops sets the number of operations of the long random script. The default and minimum is
	// 10,000.
	Ops int
	// Settle, if set, is called before goroutines are counted: it ends what
	// belongs to the process and not to the backend, such as idle connections.
	Settle func()
	// Only, if set, selects the checks of a [Report] for which it returns true. Unneeded
	// exceptions are then not reported.
	Only func(category, check string) bool
	// Reuse says that opening a backend takes long, as of a process: a check that passes
	// leaves its backend to the next one, which empties it. Checks that are Fresh get their
	// own, those of leaks do not apply.
	Reuse bool
	// Again says that the whole kit runs over the same backend elsewhere, and that this is
	// another way to it: [Run] leaves out the checks that take longest, unless PLINTH_KIT is
	// "whole" in the environment.
	Again bool
}

// minOps is the length of a random script that says something.
const minOps = 10_000

func (f Factory) ops() int { return max(f.Ops, minOps) }

func (f Factory) reopen(ctx context.Context) (storage.Backend, error) {
	if f.Reopen != nil {
		return f.Reopen(ctx)
	}
	return f.Open(ctx)
}

// Exception says that checks of a category fail, and why that is so.
type Exception struct {
	Category string
	Check    string // the name of one check; if empty, those of the category that fail
	Reason   string
}

// Except returns the exception of those checks of a category that fail. "category/check" names
// one check alone. A reason must be given.
func Except(name, reason string) Exception {
	category, check := cut(name)
	return Exception{Category: category, Check: check, Reason: reason}
}

func cut(name string) (category, check string) {
	for i := range len(name) {
		if name[i] == '/' {
			return name[:i], name[i+1:]
		}
	}
	return name, ""
}

func (e Exception) matches(c Check) bool {
	return e.Category == c.Category && (e.Check == "" || e.Check == c.Name)
}

// valid reports whether e says something about a check that there is.
func (e Exception) valid() error {
	if e.Reason == "" {
		return fmt.Errorf("the exception of %s has no reason", e)
	}
	for _, c := range Checks() {
		if e.matches(c) {
			return nil
		}
	}
	return fmt.Errorf("the exception of %s matches no check that there is", e)
}

// String returns the name of what is excepted.
func (e Exception) String() string {
	if e.Check == "" {
		return e.Category
	}
	return e.Category + "/" + e.Check
}
