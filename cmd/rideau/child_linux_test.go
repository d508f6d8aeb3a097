package main

import (
	"os/exec"
	"syscall"
)

// endWithTests lets the kernel end a process when the tests end in a way that
// runs no cleanup, such as a timeout.
func endWithTests(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
