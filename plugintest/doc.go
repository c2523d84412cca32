// Package plugintest reports whether a module, or an executable, is a plugin that a host can rely on:
// the conformance kit of package storagetest, and input that no host would send.
// It is what "plinth plugin test" runs.
//
// What belongs here is what holds for every plugin, whatever it stores in. The
// rules of backends are in storagetest, those of the ABI in abi/SPEC.md.
package plugintest
