//go:build !linux

package chattemplate

// executable is found by os.Executable.
const executable = ""

func limitProcess() {}

func closeInherited() {}
