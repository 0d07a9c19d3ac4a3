package vaultserver

import "syscall"

// dieWithParent ends the server with the program that started it, so that a
// test that is killed leaves nothing behind.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
