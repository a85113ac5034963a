package chattemplate

import (
	"os"
	"os/exec"
	"syscall"
)

// apart keeps a console's Ctrl-C from the child, which ends with its parent.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
	cmd.Env = append(cmd.Env, "SYSTEMROOT="+os.Getenv("SYSTEMROOT"))
}
