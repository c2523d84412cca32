// Package host loads plugins, opens backends, builds pipelines of wrappers over
// them as a configuration says, and owns all of it until it is closed.
//
// What belongs here is putting together and taking apart. How a backend is
// reached is a carrier's business, in the packages below; what a wrapper does,
// the wrapper's.
package host
