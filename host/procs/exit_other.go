//go:build unix && !linux

package procs

import "os/exec"

// waitFor waits until the process has ended and calls killAll. Its number might be
// another's by then, in theory.
func waitFor(cmd *exec.Cmd, killAll func()) error {
	err := cmd.Wait()
	killAll()
	return err
}
