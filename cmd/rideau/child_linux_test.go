package main

import (
	"os/exec"
	"syscall"
)

// endWithTests makes the kernel end a process when the tests end without cleanup, for
// example by a timeout.
func endWithTests(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
