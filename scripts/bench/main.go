// Command bench measures the product on real servers and prints each figure,
// beside its floor where one exists: the same work by the bare client or
// syscall, in the same run. The table is Markdown, for BENCHMARKS.md.
//
//	go run ./scripts/bench [--only name,name] [--kinds name,name] [--sync-binlog N] [--quick]
//
// It uses WAITROOM_TEST_REDIS, WAITROOM_TEST_KAFKA and WAITROOM_TEST_DB, and starts
// by scripts/services what the rows need and these don't name. Rooms and databases
// are its own and are removed; whatever else runs on these servers and on this
// machine is in the figures.
//
// Clients are processes of their own, since their sockets and their garbage are
// not the server's: the program starts itself again with --role.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// bench is what every figure is given.
type bench struct {
	part  int // of the sizes: 1 is all
	brisk int // how much shorter what takes a while is: 1 is not at all
	redis string
	kafka string
	db    string
	kinds []string // of hostile peers; empty: all
	table table
}

// report prints a figure as a row of the table of figures.
func (b *bench) report(f Figure) { b.table.print(figureColumns, f.row()) }

// full is the bench that figures are taken with. A quick one shows that it works: its
// stretches still have a few ticks.
var full, quick = bench{part: 1, brisk: 1}, bench{part: 10, brisk: 5}

// scale is the part of n that this run has.
func (b *bench) scale(n int) int { return n / b.part }

// span is how long this run takes for what takes d.
func (b *bench) span(d time.Duration) time.Duration { return d / time.Duration(b.brisk) }

// runs is how often a figure is measured.
func (b *bench) runs() int {
	if b.part > 1 {
		return 1
	}
	return 3
}

type measurement struct {
	name  string
	run   func(context.Context, *bench) error
	needs []string // servers, as scripts/services names them
}

// What rows need: those of the line, of the shop, and of the shop with its facts.
var ofLine, ofShop, ofFacts = []string{"redis", "kafka"}, []string{"mariadb"}, []string{"mariadb", "kafka"}

// measurements in the order of BENCHMARKS.md.
var measurements = []measurement{
	{"joins", measureJoins, ofLine},
	{"admissions", measureAdmissions, ofLine},
	{"bytes", measureBytes, ofLine},
	{"round", measureRound, ofLine},
	{"commands", measureCommands, ofLine},
	{"arithmetic", measureArithmetic, ofLine},
	{"allocations", measureAllocations, ofLine},
	{"memory", measureMemory, ofLine},
	{"held", measureHeld, ofLine},
	{"frames", measureFrames, ofLine},
	{"sockets", measureSockets, ofLine},
	{"told", measureTold, ofLine},
	{"relay", measureRelay, ofLine},
	{"relayed", measureRelayed, ofLine},
	{"pace", measurePace, ofLine},
	{"quiet", measureQuiet, ofLine},
	{"hostile", measureHostile, ofLine},
	{"holds", measureHolds, ofShop},
	{"confirms", measureConfirms, ofShop},
	{"edgeholds", measureEdgeHolds, ofShop},
	{"edgeconfirms", measureEdgeConfirms, ofShop},
	{"open", measureOpen, ofShop},
	{"closed", measureClosed, ofShop},
	{"facts", measureFacts, ofFacts},
	{"admitted", measureAdmitted, ofFacts},
	{"hotseat", measureHotSeat, ofShop},
	{"expiry", measureExpiry, ofShop},
	{"seatmap", measureSeatMap, ofShop},
	{"flat", measureFlat, ofShop},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	only := flags.String("only", "", "names of figures, with commas: "+strings.Join(names(), " "))
	hostile := flags.String("kinds", "", "of hostile peers, with commas: "+strings.Join(kindNames(), " "))
	syncs := flags.Int("sync-binlog", 0, "MariaDB's setting during the run: 0 leaves the binary log to the kernel, 1 syncs it with each commit")
	small := flags.Bool("quick", false, "a tenth of the sizes, once: to see that it works")
	role := flags.String("role", "", "used by bench itself, for its other processes")
	flags.Parse(args)
	if *role != "" {
		return play(ctx, *role, flags.Args())
	}
	wanted, err := some("only", *only, names())
	if err != nil {
		return err
	}
	peers, err := some("kinds", *hostile, kindNames())
	if err != nil {
		return err
	}
	needs := map[string]bool{}
	for _, m := range measurements {
		for _, server := range m.needs {
			needs[server] = needs[server] || slices.Contains(wanted, m.name)
		}
	}
	stopServers, err := servers(ctx, needs)
	if err != nil {
		return err
	}
	defer stopServers()

	fmt.Println(machine())
	if needs["mariadb"] {
		said, putBack, err := database(ctx, os.Getenv("WAITROOM_TEST_DB"), *syncs)
		if err != nil {
			return err
		}
		defer putBack()
		fmt.Println(said)
	}
	b := full
	if *small {
		b = quick
	}
	b.redis, b.kafka, b.db = os.Getenv("WAITROOM_TEST_REDIS"), os.Getenv("WAITROOM_TEST_KAFKA"), os.Getenv("WAITROOM_TEST_DB")
	b.kinds, b.table.out = peers, os.Stdout
	var failed []error
	for _, m := range measurements {
		if !slices.Contains(wanted, m.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s (load %s)\n", m.name, load())
		if err := m.run(ctx, &b); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", m.name, err))
			fmt.Fprintln(os.Stderr, "bench:", m.name, "failed:", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	fmt.Printf("\nLoad average at the end: %s.\n", load())
	return errors.Join(failed...)
}

// some are the words of a flag, each of them one of all; none is all of them.
func some(flag, words string, all []string) ([]string, error) {
	if words == "" {
		return all, nil
	}
	list := strings.Split(words, ",")
	for _, word := range list {
		if !slices.Contains(all, word) {
			return nil, fmt.Errorf("--%s %q: want some of %s", flag, word, strings.Join(all, " "))
		}
	}
	return list, nil
}

func names() (list []string) {
	for _, m := range measurements {
		list = append(list, m.name)
	}
	return list
}

// servers makes sure of those that are needed; the function it returns stops what
// it started.
func servers(ctx context.Context, needs map[string]bool) (stop func(), err error) {
	var absent []string
	for server, variable := range map[string]string{"redis": "WAITROOM_TEST_REDIS", "kafka": "WAITROOM_TEST_KAFKA", "mariadb": "WAITROOM_TEST_DB"} {
		if needs[server] && os.Getenv(variable) == "" {
			absent = append(absent, server)
		}
	}
	if len(absent) == 0 {
		return func() {}, nil
	}
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("find the module: %w", err)
	}
	script := filepath.Join(strings.TrimSpace(string(root)), "scripts", "services")
	dir, err := os.MkdirTemp("", "waitroom-bench-")
	if err != nil {
		return nil, err
	}
	stop = func() {
		// Its own context: the servers are stopped after a Ctrl-C as well.
		end := exec.Command(script, "--dir", dir, "stop")
		end.Stderr = os.Stderr
		if end.Run() == nil {
			os.RemoveAll(dir)
		}
	}
	start := exec.CommandContext(ctx, script, append([]string{"--dir", dir, "--production", "start"}, absent...)...)
	start.Stderr = os.Stderr
	if err := start.Run(); err != nil {
		stop()
		return nil, fmt.Errorf("scripts/services start: %w", err)
	}
	out, err := exec.CommandContext(ctx, script, append([]string{"--dir", dir, "env"}, absent...)...).Output()
	if err != nil {
		stop()
		return nil, fmt.Errorf("scripts/services env: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "="); ok {
			os.Setenv(name, value)
		}
	}
	return stop, nil
}

// machine describes where the figures are from.
func machine() string {
	model := "unknown processor"
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s: %d × %s, Linux %s, %s, load average %s at the start. Servers and clients run on the same machine.",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), runtime.Version(), load())
}

func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(b))[:2], " ")
}
