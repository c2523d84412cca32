// Package procs is the carrier that runs a backend as a process of its own: the
// host's half of what abi/SPEC.md says of subprocesses, on go-plugin.
//
// A [Plugin] is an executable and how it is started; a [Backend] is one that runs,
// and is started again when it is lost. Calls travel as frames over a private
// socket where the plugin offers one, else over gRPC. The plugin is not trusted:
// what it prints and answers is bounded and checked, one that hangs is killed, with
// all that it has started, and it sees of its surroundings what it was granted.
//
// What belongs here is the carrier alone. Which plugins there are, what they are
// configured with and who uses them is the business of package host.
package procs
