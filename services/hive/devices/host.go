package devices

import (
	"context"
	"os"
	"runtime"

	"github.com/rbee-project/rbee/messages"
	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"
)

// Host is what is known of the machine without an engine: names, processor, memory in all and
// available to new programs, and the disk that holds dataDir, which need not exist yet. What could
// not be found out is zero and said in Note. It takes milliseconds.
func Host(ctx context.Context, dataDir string) messages.HiveInfo {
	info := messages.HiveInfo{OS: platform(), Cores: runtime.NumCPU()}
	note := func(what string, err error) {
		if err != nil {
			info.Note = join(info.Note, what+" unknown: "+err.Error())
		}
	}
	var err error
	info.Host, err = os.Hostname()
	note("host name", err)
	if n, err := cpu.CountsWithContext(ctx, false); err == nil && n > 0 {
		info.Cores = n
	}
	if c, err := cpu.InfoWithContext(ctx); err == nil && len(c) > 0 {
		info.CPU = readable(c[0].ModelName)
	}
	if info.CPU == "" {
		info.CPU = runtime.GOARCH
	}
	m, err := mem.VirtualMemoryWithContext(ctx)
	note("memory", err)
	if err == nil {
		info.MemoryTotalBytes, info.MemoryFreeBytes = m.Total, min(m.Available, m.Total)
	}
	d, err := disk.UsageWithContext(ctx, existing(dataDir))
	note("disk", err)
	if err == nil {
		info.DiskTotalBytes, info.DiskFreeBytes = d.Total, d.Free
	}
	return info
}
