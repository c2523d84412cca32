// Package procs is the carrier that runs a backend as a process of its own: the
// host's half of what abi/SPEC.md says of subprocesses, on go-plugin.
//
// A [Plugin] is an executable and how it is started; a [Backend] is a running one, which is
// restarted when it is lost. Calls travel as frames over a private socket if the plugin
// offers one, else over gRPC. The plugin is not trusted: its output and its answers are
// bounded and checked, it is killed if it hangs, together with the processes that it has
// started, and it sees only the parts of its surroundings that it was granted.
//
// What belongs here is the carrier only. Package host knows the plugins, their configuration
// and their users.
package procs
