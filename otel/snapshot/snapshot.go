package snapshot

import (
	"math"
	"time"
)

// Snapshot is what was measured, of every stage of kind instrument and of signing keys.
type Snapshot struct {
	At     time.Time
	Stages []Stage // by store and name
	// SigningKeys are the operations on signing keys, which package auth measures.
	SigningKeys []Operation
}

// Stage is what one stage saw. The numbers of two stages of one store are about
// the same calls, seen from two places.
type Stage struct {
	Store, Name string // of the store, and of the stage in it
	System      string // the backend: db.system.name
	Operations  []Operation
	Total       Operation // all operations together, but health
	// TTLOperations are the write sets that gave an item a time to live.
	TTLOperations uint64
	// Tenants are those that calls were told apart by, the busiest first. "_other"
	// are all beyond the most that are told apart, "_many" calls of several.
	Tenants []Tenant
}

// Tenant is what a stage saw of one tenant.
type Tenant struct {
	Name       string
	Operations []Operation
	Total      Operation
}

// Operation is what was measured of one kind of call: get, set, commit, …
type Operation struct {
	Name  string // empty: of a total
	Count uint64 // of calls, whatever came of them
	// NotFound and Conflicts are answers and no errors. Errors are what else was
	// not done.
	NotFound, Conflicts, Errors uint64

	Time          time.Duration // of all calls together
	Min, Max      time.Duration
	P50, P95, P99 time.Duration
	Error         float64 // the most that a percentile is off, relative to it: 0.01 is 1 %

	histogram histogram
}

// Mean is the average duration; 0 where there were no calls.
func (o *Operation) Mean() time.Duration {
	if o.Count == 0 {
		return 0
	}
	return o.Time / time.Duration(o.Count)
}

// ErrorRate is the share of calls that were errors, of 0 to 1.
func (o *Operation) ErrorRate() float64 { return rate(o.Errors, o.Count) }

// ConflictRate is the share of calls that were refused for what they found, of 0
// to 1. Of a total it is the share of all calls.
func (o *Operation) ConflictRate() float64 { return rate(o.Conflicts, o.Count) }

// Percentile is the duration that the share p of calls, of 0 to 1, does not exceed.
func (o *Operation) Percentile(p float64) time.Duration { return seconds(o.histogram.quantile(p)) }

// Operation is the operation of that name; the zero one where it was not called.
func (s *Stage) Operation(name string) Operation { return find(s.Operations, name) }

// Operation is the operation of that name; the zero one where it was not called.
func (t *Tenant) Operation(name string) Operation { return find(t.Operations, name) }

// ConflictRate is the share of what has conditions — compare_and_set,
// compare_and_delete and commit — that was refused for what it found, of 0 to 1.
func (s *Stage) ConflictRate() float64 {
	var conflicts, all uint64
	for _, name := range []string{"compare_and_set", "compare_and_delete", "commit"} {
		o := s.Operation(name)
		conflicts, all = conflicts+o.Conflicts, all+o.Count
	}
	return rate(conflicts, all)
}

// Stage is the stage of that name in that store; nil: it was not called.
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
