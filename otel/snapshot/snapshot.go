package snapshot

import (
	"math"
	"time"
)

// Snapshot has the measurements of every instrument stage and of signing keys.
type Snapshot struct {
	At     time.Time
	Stages []Stage // by store and name
	// SigningKeys has the operations on signing keys, which package auth measures.
	SigningKeys []Operation
}

// Stage has the measurements of one stage. Two stages of one store measure the same
// calls, at two places.
type Stage struct {
	Store, Name string // of the store, and of the stage in it
	System      string // the backend: db.system.name
	Operations  []Operation
	Total       Operation // all operations together, but health
	// TTLOperations counts the write sets that gave an item a time to live.
	TTLOperations uint64
	// Tenants has the tenants, the busiest first. "_other" combines those beyond the
	// maximum, "_many" calls over several tenants.
	Tenants []Tenant
}

// Tenant has the measurements of one tenant at a stage.
type Tenant struct {
	Name       string
	Operations []Operation
	Total      Operation
}

// Operation has the measurements of one kind of call: get, set, commit, …
type Operation struct {
	Name  string // empty for a total
	Count uint64 // of calls, whatever their outcome
	// NotFound and Conflicts are regular outcomes. Errors counts all others except
	// success.
	NotFound, Conflicts, Errors uint64

	Time          time.Duration // of all calls together
	Min, Max      time.Duration
	P50, P95, P99 time.Duration
	Error         float64 // maximum relative error of a percentile: 0.01 is 1 %

	histogram histogram
}

// Mean returns the average duration, or 0 without calls.
func (o *Operation) Mean() time.Duration {
	if o.Count == 0 {
		return 0
	}
	return o.Time / time.Duration(o.Count)
}

// ErrorRate returns the share of calls that were errors, from 0 to 1.
func (o *Operation) ErrorRate() float64 { return rate(o.Errors, o.Count) }

// ConflictRate returns the share of calls that ended in a conflict, from 0 to 1. For a
// total it is the share of all calls.
func (o *Operation) ConflictRate() float64 { return rate(o.Conflicts, o.Count) }

// Percentile returns the duration that the share p of calls, from 0 to 1, does not
// exceed.
func (o *Operation) Percentile(p float64) time.Duration { return seconds(o.histogram.quantile(p)) }

// Operation returns the operation of that name, or a zero one without calls.
func (s *Stage) Operation(name string) Operation { return find(s.Operations, name) }

// Operation returns the operation of that name, or a zero one without calls.
func (t *Tenant) Operation(name string) Operation { return find(t.Operations, name) }

// ConflictRate returns the share of conditional operations — compare_and_set,
// compare_and_delete and commit — that ended in a conflict, from 0 to 1.
func (s *Stage) ConflictRate() float64 {
	var conflicts, all uint64
	for _, name := range []string{"compare_and_set", "compare_and_delete", "commit"} {
		o := s.Operation(name)
		conflicts, all = conflicts+o.Conflicts, all+o.Count
	}
	return rate(conflicts, all)
}

// Stage returns the stage of that name in that store, or nil without calls.
func (s *Snapshot) Stage(store, name string) *Stage {
	for i := range s.Stages {
		if s.Stages[i].Store == store && s.Stages[i].Name == name {
			return &s.Stages[i]
		}
	}
	return nil
}

func find(ops []Operation, name string) Operation {
	for _, o := range ops {
		if o.Name == name {
			return o
		}
	}
	return Operation{Name: name}
}

func rate(part, all uint64) float64 {
	if all == 0 {
		return 0
	}
	return float64(part) / float64(all)
}

// complete fills in what follows from the histogram.
func (o *Operation) complete() {
	h := &o.histogram
	o.Count = h.count
	if h.count == 0 {
		return
	}
	o.Time, o.Min, o.Max = seconds(h.sum), seconds(h.min), seconds(h.max)
	o.P50, o.P95, o.P99 = o.Percentile(0.50), o.Percentile(0.95), o.Percentile(0.99)
	o.Error = h.bound()
}

func seconds(s float64) time.Duration {
	return time.Duration(math.Round(s * float64(time.Second)))
}
