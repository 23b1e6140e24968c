package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Usage is what a process has used so far.
type Usage struct {
	AtUS    int64   // when this was, since 1970
	RSS     float64 // bytes
	Stacks  float64 // of it: the goroutines'
	Heap    float64 // of it: spans with live objects
	Mallocs float64
	CPUUS   float64 // user and system
	GCUS    float64 // the collector's part of it, as the runtime estimates it at each collection
	GOGC    float64 // percent
	Sent    float64 // position frames of a node
}

// since is the difference in what only grows.
func (u Usage) since(before Usage) Usage {
	u.AtUS -= before.AtUS
	u.RSS -= before.RSS
	u.Stacks -= before.Stacks
	u.Heap -= before.Heap
	u.Mallocs -= before.Mallocs
	u.CPUUS -= before.CPUUS
	u.GCUS -= before.GCUS
	u.Sent -= before.Sent
	return u
}

// perSecond is the processor time per second of the time between, in percent of
// one core.
func (u Usage) perSecond() float64 { return 100 * u.CPUUS / float64(u.AtUS) }

// usage is that of this process; reg may be nil.
func usage(reg *prometheus.Registry) (u Usage, err error) {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	u.Stacks, u.Heap, u.Mallocs = float64(mem.StackInuse), float64(mem.HeapInuse), float64(mem.Mallocs)
	samples := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/gc/gogc:percent"}}
	metrics.Read(samples)
	u.GCUS, u.GOGC = samples[0].Value.Float64()*1e6, float64(samples[1].Value.Uint64())
	if reg != nil {
		families, err := reg.Gather()
		if err != nil {
			return u, err
		}
		for _, f := range families {
			if f.GetName() == "waitroom_positions_sent_total" {
				for _, m := range f.GetMetric() {
					u.Sent += m.GetCounter().GetValue()
				}
			}
		}
	}
	if u.RSS, err = resident("self"); err != nil {
		return u, err
	}
	u.CPUUS, err = processor()
	u.AtUS = time.Now().UnixMicro()
	return u, err
}

// processor is the user and system time of this process, in µs.
func processor() (float64, error) {
	var ru syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e3, err
}

// resident is the resident memory of a process, in bytes.
func resident(pid string) (float64, error) {
	statm, err := os.ReadFile("/proc/" + pid + "/statm")
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(statm))[1], 64)
	return pages * float64(os.Getpagesize()), err
}

// busy is how much of all processors this machine has used and had, in ticks of
// the kernel since it started.
func busy() (used, all float64, err error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 {
		return 0, 0, fmt.Errorf("/proc/stat: %q", line)
	}
	for i, f := range fields[1:9] { // guest time is in user time already
		n, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return 0, 0, err
		}
		all += n
		if i != 3 && i != 4 { // idle, and idle until a disk answers
			used += n
		}
	}
	return used, all, nil
}
