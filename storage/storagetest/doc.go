// Package storagetest reports whether a [storage.Backend] keeps the contract. It
// holds the conformance kit ([Run]), the reference model ([Model]), the history
// checker ([History]) and a backend that fails on request ([Faults]) for tests
// of the layers above one.
//
// # Running the kit
//
// A backend's own test is a page:
//
//	func TestConformance(t *testing.T) {
//		clock := storagetest.NewClock()
//		storagetest.Run(t, storagetest.Factory{Clock: clock, Open: func(context.Context) (storage.Backend, error) {
//			return acme.New(acme.Options{Now: clock.Now}), nil
//		}})
//	}
//
// Every check gets a backend of its own, fresh and empty, whose clock only the
// check moves: nothing sleeps. What a check needs is in its capabilities; one
// that needs what the backend does not support is not applicable, and for each
// capability that is lacking the category "capabilities" asks that its use is
// refused. A check that is known to fail is excepted by name, with its reason:
//
//	storagetest.Run(t, factory, storagetest.Except("health", "the probe is the operator's"))
//
// An exception that matches no failing check is a failure itself.
//
// With -short, as one runs it under the race detector, the few checks that take
// long and make one call at a time are left out.
//
// Outside of "go test", [Report] runs the same checks and reports the outcome of each.
//
// What belongs here is whatever holds for every backend, at every layer. What
// holds for one alone is in its own tests. Nothing else in the module imports
// package testing.
package storagetest
