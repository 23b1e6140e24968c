package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// A run whose machine did not keep up shows nothing, whatever its counts are. Two
// measures tell, both of what the load did and not of what it was.
const (
	// watched is how often a process of ours looks at the clock.
	watched = 50 * time.Millisecond
	// mostStill is how late a look may come. A line that lost writes asks its processes
	// for 3 s: on a machine that stands still for half of that, whoever lives may look
	// dead, and the loss is another one than its row says.
	mostStill = 1500 * time.Millisecond
	// mostLate is the part of the time of arrival by which the last visitor may be late:
	// at a fifth fewer joins a second came than the table says.
	mostLate = 0.2
)

// Pace is how the machine kept up with a run.
type Pace struct {
	Late  time.Duration // by which the last visitor came later than planned
	Still time.Duration // the longest time that a process of ours was not run when it should have been
}

// worse is the pace of two processes together.
func (p Pace) worse(o Pace) Pace { return Pace{max(p.Late, o.Late), max(p.Still, o.Still)} }

// tooSlow says why a run on this machine does not count; empty: it does.
func (p Pace) tooSlow(size Size) string {
	switch {
	case p.Still > mostStill:
		return fmt.Sprintf("a process stood still for %.1f s, and %.1f s are too long", p.Still.Seconds(), mostStill.Seconds())
	case p.Late > time.Duration(mostLate*float64(size.For)):
		return fmt.Sprintf("the last visitor came %.1f s late, so %.0f joins a second came and not %d",
			p.Late.Seconds(), float64(size.visitors())/(size.For+p.Late).Seconds(), size.Joins)
	}
	return ""
}

// watch notes by how much its looks at the clock come late.
type watch struct {
	still atomic.Int64 // ns, the longest
}

// run looks until ctx ends.
func (w *watch) run(ctx context.Context) {
	tick := time.NewTicker(watched)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		w.looked(now.Sub(last))
		last = now
	}
}

// looked notes how long after the look before this one came. Only run calls it.
func (w *watch) looked(after time.Duration) {
	w.still.Store(max(w.still.Load(), int64(after-watched)))
}

func (w *watch) longest() time.Duration { return time.Duration(w.still.Load()) }

// printMachine says where and of what a table is, so that it can be made again.
func printMachine(ctx context.Context, w io.Writer, root string) {
	say := func(name string, args ...string) string {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = root
		out, err := cmd.Output()
		if err != nil {
			return "unknown"
		}
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return line
	}
	commit := say("git", "rev-parse", "--short=12", "HEAD")
	if say("git", "status", "--porcelain") != "" {
		commit += " with changes"
	}
	fmt.Fprintf(w, "- Command: `go run ./test/loss %s`\n", strings.Join(os.Args[1:], " "))
	fmt.Fprintf(w, "- Commit: %s\n", commit)
	fmt.Fprintf(w, "- Date: %s\n", time.Now().UTC().Format("2006-01-02 15:04 UTC"))
	fmt.Fprintf(w, "- Machine: %d × %s, %s\n", runtime.NumCPU(), processor(), memory())
	fmt.Fprintf(w, "- Software: %s; %s; %s\n", say("uname", "-sr"), runtime.Version(), say("redis-server", "--version"))
	fmt.Fprintf(w, "- Load average before: %s\n", load())
}

// processor and memory are what Linux says of them.
func processor() string { return field("/proc/cpuinfo", "model name") }

func memory() string { return field("/proc/meminfo", "MemTotal") }

func field(file, name string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		if before, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(before) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(b))[:2], " ")
}
