package process

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"go.uber.org/zap"
)

const (
	// ofCgroup is the part of a container's memory that the runtime may use, in
	// percent. The rest is what the kernel counts against the container and the
	// runtime cannot see: socket buffers, page tables, the binary's own pages.
	ofCgroup = 90
	// leastMemory is the least limit that can be set: an idle process takes half of
	// it, and below that the collector would do nothing else.
	leastMemory = 32 << 20
	// unlimited is where a limit of cgroup v1 stands for none: it writes the greatest
	// multiple of a page.
	unlimited = 1 << 60
)

// Memory are the flags of the collector. GOMEMLIMIT and GOGC are read by the
// runtime itself; where one is set, it wins.
type Memory struct {
	Limit     string `name:"memory" help:"Soft limit of memory, near which the collector works harder: auto is 90 % of the container's limit (cgroup), none, or a size such as 900MiB. GOMEMLIMIT wins." default:"auto" env:"WAITROOM_MEMORY"`
	GCPercent int    `name:"gc-percent" help:"How much is allocated until the next collection, in percent of what is alive: less takes less memory and more processor time. GOGC wins." default:"200" env:"WAITROOM_GC_PERCENT"`
}

// Check reports every wrong value.
func (m Memory) Check() error {
	var errs []error
	if _, err := m.fixed(); err != nil {
		errs = append(errs, fmt.Errorf("--memory %q: %w", m.Limit, err))
	}
	if m.GCPercent < 10 || m.GCPercent > 1000 {
		errs = append(errs, fmt.Errorf("--gc-percent %d: want 10 to 1000", m.GCPercent))
	}
	return errors.Join(errs...)
}

// Set applies the flags to the runtime and logs what holds and why.
func (m Memory) Set(log *zap.Logger) { m.set(log, os.Getenv, os.DirFS("/")) }

func (m Memory) set(log *zap.Logger, getenv func(string) string, root fs.FS) {
	limit, limitBy := m.choose(root)
	if getenv("GOMEMLIMIT") != "" {
		limit, limitBy = debug.SetMemoryLimit(-1), "GOMEMLIMIT"
	} else {
		debug.SetMemoryLimit(limit)
	}
	percent, percentBy := strconv.Itoa(m.GCPercent), "--gc-percent"
	if gogc := getenv("GOGC"); gogc != "" {
		percent, percentBy = gogc, "GOGC"
	} else {
		debug.SetGCPercent(m.GCPercent)
	}
	size := "none"
	if limit != math.MaxInt64 {
		size = strconv.FormatInt(limit>>20, 10) + "MiB"
	}
	log.Info("memory", zap.String("limit", size), zap.String("limit_by", limitBy),
		zap.String("gc_percent", percent), zap.String("gc_percent_by", percentBy))
}

// choose is the limit of the flag and what it comes from.
func (m Memory) choose(root fs.FS) (limit int64, by string) {
	if m.Limit != "auto" {
		limit, _ = m.fixed() // Check let only good ones through
		return limit, "--memory"
	}
	if container := cgroupLimit(root); container < unlimited {
		return container / 100 * ofCgroup, fmt.Sprintf("%d %% of the cgroup's %dMiB", ofCgroup, container>>20)
	}
	return math.MaxInt64, "no limit of a cgroup"
}

// fixed reads a size; auto and none are no limit here.
func (m Memory) fixed() (int64, error) {
	if m.Limit == "auto" || m.Limit == "none" {
		return math.MaxInt64, nil
	}
	number, unit := m.Limit, int64(1)
	for _, u := range []struct {
		suffix string
		size   int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}} {
		if cut, ok := strings.CutSuffix(m.Limit, u.suffix); ok {
			number, unit = cut, u.size
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, errors.New("want auto, none, or a size such as 900MiB or 2GiB")
	}
	if n*unit < leastMemory {
		return 0, fmt.Errorf("want at least %dMiB", leastMemory>>20)
	}
	return n * unit, nil
}

// cgroupLimit is the least limit of memory of this process's cgroup and those
// above it; unlimited or more: there is none. A container may see its own cgroup
// as the root, under a path that only its host knows: then the root's file counts.
func cgroupLimit(root fs.FS) int64 {
	own, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return unlimited // not Linux, or /proc is hidden
	}
	least := int64(unlimited)
	for line := range strings.Lines(string(own)) {
		// hierarchy:controllers:path, after cgroups(7); version 2 is hierarchy 0.
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[0] == "0":
			least = min(least, upward(root, "sys/fs/cgroup", parts[2], "memory.max"))
		case strings.Contains(","+parts[1]+",", ",memory,"):
			least = min(least, upward(root, "sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes"))
		}
	}
	return least
}

// upward is the least number in the files of a cgroup and of all above it. A path
// has as many parts as a kernel lets cgroups nest.
func upward(root fs.FS, mount, group, file string) int64 {
	least := int64(unlimited)
	for at := path.Clean("/" + group); ; at = path.Dir(at) {
		text, err := fs.ReadFile(root, path.Join(mount, at, file))
		if err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil { // "max" is none
				least = min(least, n)
			}
		}
		if at == "/" {
			return least
		}
	}
}
