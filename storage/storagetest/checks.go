package storagetest

import (
	"slices"

	"github.com/plinthkv/plinth/storage"
)

// Check tests one thing that must hold.
type Check struct {
	Category, Name string
	// Needs lists the capabilities without which the check does not apply.
	Needs storage.Caps
	// Long says that it takes long, and makes one call at a time: a run for the race
	// detector learns little from it. [Run] leaves it out with -short.
	Long bool
	// Fresh says that it needs a backend of its own also where [Factory.Reuse] has checks
	// share one: it closes or restarts it, or depends on what was never written.
	Fresh bool

	run func(t *T)
}

// Checks returns all checks, in the order in which they run: the plain before what
// builds on it.
func Checks() []Check {
	return slices.Concat(crudChecks(), writeSetChecks(), rangeChecks(), clearChecks(), scanChecks(), ttlChecks(), casChecks(),
		transactionChecks(), serializableChecks(), versionChecks(), writeChecks(), limitChecks(), errorChecks(), ownershipChecks(),
		idempotencyChecks(), fresh(changeChecks()...), noticeChecks(), spaceChecks(), healthChecks(), fresh(capabilityChecks()...), fresh(restartChecks()...), atomicityChecks(), concurrencyChecks(),
		modelChecks(), linearizabilityChecks(),
		fresh(leakChecks()...))
}

func in(category string, checks ...Check) []Check {
	for i := range checks {
		checks[i].Category = category
	}
	return checks
}

// is makes the check called name.
func is(name string, needs storage.Caps, run func(t *T)) Check {
	return Check{Name: name, Needs: needs, run: run}
}

// long makes the check called name, which is one for a run without -short.
func long(name string, needs storage.Caps, run func(t *T)) Check {
	return Check{Name: name, Needs: needs, Long: true, run: run}
}

// fresh gives checks backends of their own.
func fresh(checks ...Check) []Check {
	for i := range checks {
		checks[i].Fresh = true
	}
	return checks
}

// alone gives one check a backend of its own.
func alone(c Check) Check { return fresh(c)[0] }
