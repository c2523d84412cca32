// The program plinth: it serves stores over HTTP, checks configurations, looks
// into plugins, and reads and writes a served store from the shell.
//
// What belongs here is the command line: arguments, exit codes, what people see.
// The work is done by the packages it calls.
package main
