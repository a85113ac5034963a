//go:build unix

package chattemplate

import (
	"os/exec"
	"syscall"
)

// apart keeps a terminal's Ctrl-C from the child, which ends with its parent. A death signal is not
// asked for: it fires when the thread dies that started the child, not the process.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
