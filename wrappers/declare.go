package wrappers

import (
	"slices"

	"github.com/plinthkv/plinth/storage"
)

// Declaration describes a wrapper to builders of pipelines. From it, "plinth check"
// refuses orders, warns of others, and prints the guarantees of a pipeline.
type Declaration struct {
	Needs     storage.Caps // capabilities that it requires from below
	Does      Trait        // how it treats calls; see Order
	Preserves string       // the guarantees that hold above it
	Weakens   string       // the guarantees that do not; if empty, it weakens nothing
	Changes   []Change     // changes of guarantees, as configured
	Never     []Order      // places in a pipeline where it must not or should not be
	Warnings  []string     // warnings about it, as configured, over what is below
}

// Trait describes how a wrapper treats calls. Traits are bits.
type Trait uint8

// The traits.
const (
	Merges     Trait = 1 << iota // merges write sets of several callers into one
	Repeats                      // may make a call more than once
	Identifies                   // assigns IDs to write sets without one
	Renames                      // renames keys for the stages below
	Injects                      // makes calls fail, for tests
)

// Guarantee identifies a guarantee of a pipeline to its callers.
type Guarantee uint8

// The guarantees.
const (
	ReadAfterWrite Guarantee = iota // visibility of acknowledged writes to reads
	Atomicity                       // of a write set
	Durability                      // of what was acknowledged
	Expiry                          // precision with which items with a TTL expire
	Repetition                      // which calls are retried

	Guarantees // how many there are
)

var guaranteeNames = [Guarantees]string{"read after write", "atomicity", "durability", "ttl", "retries"}

// String returns the name of the guarantee.
func (g Guarantee) String() string { return guaranteeNames[g] }

// Change describes how a stage changes a guarantee.
type Change struct {
	Of     Guarantee
	Weaker bool   // it weakens the guarantee
	How    string // a sentence, in terms of its configuration
}

// Order forbids a wrapper, or warns of it, below stages with a trait: nearer to the backend.
type Order struct {
	Under  Trait
	Refuse bool // an error; otherwise a warning
	Why    string
}

// Below describes the backend below a wrapper.
type Below struct {
	Info   storage.Info
	Shared bool // the backend has writers besides this host
	// Notices reports that the backend notifies the host when others have written, but not
	// what ([storage.CapChangeNotice]).
	Notices bool
}

// Stage describes a wrapper at its place in a pipeline.
type Stage struct {
	Name, Kind string
	Declaration
}

// Finding reports a misplaced stage.
type Finding struct {
	Stage   int // index of the stage, outermost 0
	Refused bool
	Text    string
}

// Judge returns the findings about a pipeline, which begins with its outermost stage.
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

// Promise states one guarantee of a pipeline: the backend's, and the changes of stages to
// it, innermost first.
type Promise struct {
	Of      Guarantee
	Backend string
	Changes []StageChange
}

// StageChange holds a Change, with the stage that makes it.
type StageChange struct {
	Stage string
	Change
}

// Promises returns every guarantee of a pipeline over a backend. The pipeline begins with
// its outermost stage.
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

// ofBackend returns what a backend without any stage promises.
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

// String describes the trait with a verb.
func (t Trait) String() string { return traitNames[t] }
