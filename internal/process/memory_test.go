package process

import (
	"math"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// files is a root directory with these files.
func files(pairs ...string) fstest.MapFS {
	root := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		root[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1] + "\n")}
	}
	return root
}

func TestCgroupLimit(t *testing.T) {
	const own, gib = "proc/self/cgroup", 1 << 30
	for _, c := range []struct {
		name string
		root fstest.MapFS
		want int64
	}{
		{"no cgroups", files(), unlimited},
		{"version 2 in a container", files(own, "0::/", "sys/fs/cgroup/memory.max", "1073741824"), gib},
		{"version 2 without a limit", files(own, "0::/", "sys/fs/cgroup/memory.max", "max"), unlimited},
		{"version 2, a service", files(own, "0::/system.slice/waitroom.service",
			"sys/fs/cgroup/system.slice/waitroom.service/memory.max", "1073741824"), gib},
		{"version 2, the slice above has less", files(own, "0::/system.slice/waitroom.service",
			"sys/fs/cgroup/system.slice/waitroom.service/memory.max", "max",
			"sys/fs/cgroup/system.slice/memory.max", "1073741824"), gib},
		{"version 1", files(own, "12:pids:/x\n4:memory:/x\n0::/x", "sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1073741824",
			"sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712"), gib},
		{"version 1, with other controllers", files(own, "4:cpu,memory:/x", "sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1073741824"), gib},
		{"version 1, no limit", files(own, "4:memory:/", "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712"), unlimited},
		{"version 1, a path of the host", files(own, "4:memory:/docker/0a1b", "sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824"), gib},
		{"a path out of the root", files(own, "0::/../../etc", "sys/fs/cgroup/memory.max", "1073741824"), gib},
		{"rubbish", files(own, "hello\n0::/", "sys/fs/cgroup/memory.max", "a lot"), unlimited},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := cgroupLimit(c.root)
			if got != c.want && !(c.want == unlimited && got >= unlimited) {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

// What holds is set, and the log says what and why; the environment wins.
func TestMemory(t *testing.T) {
	container := files("proc/self/cgroup", "0::/", "sys/fs/cgroup/memory.max", "1073741824")
	for _, c := range []struct {
		name    string
		flags   Memory
		root    fstest.MapFS
		env     map[string]string
		limit   int64 // 77: as it was
		percent int   // 77: as it was
		log     []string
	}{
		{"in a container", Memory{"auto", 100}, container, nil, 1 << 30 / 100 * 90, 100, []string{"921MiB", "90 % of the cgroup's 1024MiB", "--gc-percent"}},
		{"on a machine", Memory{"auto", 50}, files(), nil, math.MaxInt64, 50, []string{"none", "no limit of a cgroup", "50"}},
		{"by hand", Memory{"300MiB", 200}, container, nil, 300 << 20, 200, []string{"300MiB", "--memory", "200"}},
		{"none", Memory{"none", 100}, container, nil, math.MaxInt64, 100, []string{"none", "--memory"}},
		{"environment", Memory{"300MiB", 200}, container, map[string]string{"GOMEMLIMIT": "77MiB", "GOGC": "77"}, 77 << 20, 77,
			[]string{"77MiB", "GOMEMLIMIT", "77", "GOGC"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			// As the runtime has read it.
			oldLimit, oldPercent := debug.SetMemoryLimit(77<<20), debug.SetGCPercent(77)
			defer func() { debug.SetMemoryLimit(oldLimit); debug.SetGCPercent(oldPercent) }()
			core, logs := observer.New(zap.InfoLevel)
			c.flags.set(zap.New(core), func(name string) string { return c.env[name] }, c.root)
			if got := debug.SetMemoryLimit(-1); got != c.limit {
				t.Errorf("got limit %d, want %d", got, c.limit)
			}
			if got := debug.SetGCPercent(100); got != c.percent {
				t.Errorf("got percent %d, want %d", got, c.percent)
			}
			said := ""
			for _, f := range logs.All()[0].Context {
				said += f.String + " "
			}
			for _, want := range c.log {
				if !strings.Contains(said, want) {
					t.Errorf("logged %q, want %q in it", said, want)
				}
			}
		})
	}
}

func TestMemoryCheck(t *testing.T) {
	for limit, want := range map[string]string{
		"auto": "", "none": "", "900MiB": "", "2GiB": "", "33554432": "", "1TiB": "", "65536KiB": "",
		"": "want auto", "lots": "want auto", "-1": "want auto", "2G": "want auto", "1.5GiB": "want auto",
		"9223372036854775807GiB": "want auto", "31MiB": "want at least 32MiB", "0": "want at least",
	} {
		err := Memory{limit, 100}.Check()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("--memory %q: got %v, want %q", limit, err, want)
		}
	}
	for percent, good := range map[int]bool{9: false, 10: true, 1000: true, 1001: false, -1: false} {
		if err := (Memory{"auto", percent}).Check(); (err == nil) != good {
			t.Errorf("--gc-percent %d: got %v, want good %v", percent, err, good)
		}
	}
}
