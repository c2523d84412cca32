// Package carrier is what the ways to run or reach a plugin have in common.
//
// A [Carrier] is one plugin, run or reached in one way: a module in this process,
// a process, another host, Go that is linked in. A [Factory] makes those of one
// kind from their part of the configuration. [Calls] are the calls of a backend
// whose plugin answers messages of the ABI.
//
// What belongs here is what two carriers would do alike. Each is a package below
// this one; which of them a plugin needs is the business of package host.
package carrier
