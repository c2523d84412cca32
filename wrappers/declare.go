package wrappers

import (
	"slices"

	"github.com/plinthkv/plinth/storage"
)

// Declaration is what a wrapper says of itself, for whoever puts a pipeline
// together: "plinth check" refuses orders by it, warns of others and tells what
// a pipeline guarantees.
type Declaration struct {
	Needs     storage.Caps // what it cannot do without, from below
	Does      Trait        // by which others know whether they may stand under it
	Preserves string       // what stays true above it
	Weakens   string       // what does not; empty: nothing
	Changes   []Change     // of the guarantees, as it is configured
	Never     []Order      // where it must not stand, or should not
	Warnings  []string     // about it, as it is configured, over what is below
}

// Trait is something that a wrapper does with calls.
type Trait uint8

// The traits.
const (
	Merges     Trait = 1 << iota // makes one write set of several callers'
	Repeats                      // may make a call more than once
	Identifies                   // gives IDs to write sets that have none
	Renames                      // calls keys by other names below
	Injects                      // makes calls fail, for tests
)

// Guarantee is something that a pipeline promises to who calls it.
type Guarantee uint8

// The guarantees.
const (
	ReadAfterWrite Guarantee = iota // what a read sees of writes that were acknowledged
	Atomicity                       // of a write set
	Durability                      // of what was acknowledged
	Expiry                          // how exactly items with a TTL end
	Repetition                      // what is tried again

	Guarantees // how many there are
)

var guaranteeNames = [Guarantees]string{"read after write", "atomicity", "durability", "ttl", "retries"}

// String is the guarantee's name.
func (g Guarantee) String() string { return guaranteeNames[g] }

// Change is what a stage does to a guarantee.
type Change struct {
	Of     Guarantee
	Weaker bool   // it takes something away
	How    string // a sentence, in terms of its configuration
}

// Order says under which stages a wrapper must not stand, nearer to the backend.
type Order struct {
	Under  Trait
	Refuse bool // else it is a warning
	Why    string
}

// Below is what a wrapper stands on.
type Below struct {
	Info   storage.Info
	Shared bool // others may write to the backend, past this host
}

// Stage is a wrapper at its place in a pipeline.
type Stage struct {
	Name, Kind string
	Declaration
}

// Finding is something wrong with the place of a stage.
type Finding struct {
	Stage   int // index of the stage, outermost 0
	Refused bool
	Text    string
}

// Judge is what is wrong with a pipeline, outermost stage first.
func Judge(pipeline []Stage) []Finding {
	var found []Finding
	for i, s := range pipeline {
		for _, text := range s.Warnings {
			found = append(found, Finding{Stage: i, Text: s.Name + ": " + text})
		}
		for _, rule := range s.Never {
			above := slices.IndexFunc(pipeline[:i], func(a Stage) bool { return a.Does&rule.Under != 0 })
			if above >= 0 {
				text := s.Name + " is below " + pipeline[above].Name + ": " + rule.Why
				if pipeline[above].Kind == s.Kind {
					text += "; remove one of the two"
				} else {
					text += "; the better order is " + reordered(pipeline, i, above)
				}
				found = append(found, Finding{Stage: i, Refused: rule.Refuse, Text: text})
			}
		}
	}
	return found
}

// reordered names the pipeline with the stage at i moved above the one at to.
func reordered(pipeline []Stage, i, to int) string {
	order := slices.Clone(pipeline)
	order = slices.Insert(slices.Delete(order, i, i+1), to, pipeline[i])
	text := ""
	for n, s := range order {
		if n > 0 {
			text += ", "
		}
		text += s.Name
	}
	return text
}

// Promise is what a pipeline promises in one respect: what the backend does, and
// what stages change about it, innermost first.
type Promise struct {
	Of      Guarantee
	Backend string
	Changes []StageChange
}

// StageChange is the change that a stage makes.
type StageChange struct {
	Stage string
	Change
}

// Promises are all that a pipeline promises, outermost stage first, over a
// backend.
func Promises(pipeline []Stage, b Below) []Promise {
	promises := make([]Promise, Guarantees)
	for g := range Guarantees {
		promises[g] = Promise{Of: g, Backend: ofBackend(g, b)}
	}
	for _, s := range slices.Backward(pipeline) {
		for _, c := range s.Changes {
			promises[c.Of].Changes = append(promises[c.Of].Changes, StageChange{s.Name, c})
		}
	}
	return promises
}

// ofBackend is what a backend without any stage promises.
func ofBackend(g Guarantee, b Below) string {
	caps := b.Info.Caps
	switch g {
	case ReadAfterWrite:
		return "a read that begins after a write was acknowledged sees it"
	case Atomicity:
		if caps.Has(storage.CapAtomic) {
			return "a write set is applied whole, at one version, or not at all"
		}
		return "one key at a time: write sets of several keys are refused"
	case Durability:
		if caps.Has(storage.CapDurable) {
			return "an acknowledged write survives a crash"
		}
		return "none: the data is gone when the backend ends"
	case Expiry:
		if !caps.Has(storage.CapTTL) {
			return "none: writes with a TTL are refused"
		}
		if p := b.Info.Limits.TTLPrecision; p > 0 {
			return "items end at their time, in steps of " + p.String()
		}
		return "items end at their time, to the millisecond"
	}
	return "nothing is tried again"
}

var traitNames = map[Trait]string{
	Merges: "merges writes", Repeats: "repeats calls", Identifies: "gives writes IDs", Renames: "renames keys", Injects: "makes calls fail",
}

// String says what the trait does.
func (t Trait) String() string { return traitNames[t] }
