package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/events"
	"waitroom/internal/kafkaio"
)

// harness is what all runs share: the binaries, Kafka and MariaDB.
type harness struct {
	size     Size
	root     string // of the module
	dir      string // of everything that is written
	keep     bool   // the folder outlives the program
	bin      string
	services string // folder of scripts/services
	kafka    string // host:port
	db       string // URL
	broker   *os.Process
}

// open builds the binaries and starts the servers. They are its own, even where a
// test's environment names some: Kafka is frozen in one kind, and another fleet on
// it would take this one's events.
func open(ctx context.Context, size Size, logs string) (h *harness, err error) {
	h = &harness{size: size, dir: logs, keep: logs != ""}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return h, fmt.Errorf("find the module: %w", err)
	}
	h.root = strings.TrimSpace(string(root))
	if h.keep {
		if h.dir, err = filepath.Abs(logs); err == nil {
			err = os.MkdirAll(h.dir, 0o700)
		}
	} else {
		h.dir, err = os.MkdirTemp("", "waitroom-loss-")
	}
	if err != nil {
		return h, err
	}
	h.bin = filepath.Join(h.dir, "bin")
	build := exec.CommandContext(ctx, "go", "build", "-o", h.bin+string(filepath.Separator),
		"waitroom/cmd/waitroom", "waitroom/cmd/admitter", "waitroom/cmd/booker")
	build.Dir = h.root
	if out, err := build.CombinedOutput(); err != nil {
		return h, fmt.Errorf("build the binaries: %w\n%s", err, out)
	}
	return h, h.serve(ctx)
}

func (h *harness) serve(ctx context.Context) error {
	h.services = filepath.Join(h.dir, "services")
	if _, err := h.script(ctx, "start", h.services, "kafka", "mariadb"); err != nil {
		return err
	}
	env, err := h.script(ctx, "env", h.services, "kafka", "mariadb")
	if err != nil {
		return err
	}
	h.kafka, h.db = env["WAITROOM_TEST_KAFKA"], env["WAITROOM_TEST_DB"]
	if h.kafka == "" || h.db == "" {
		return errors.New("scripts/services env named no Kafka or no database")
	}
	if err := h.topics(ctx); err != nil {
		return err
	}
	pid, err := readPID(filepath.Join(h.services, "kafka", "pid"))
	if err != nil {
		return err
	}
	h.broker, err = os.FindProcess(pid)
	return err
}

// topics makes them before anybody needs them: a Kafka that has just started on a busy
// machine takes longer for it than a binary's start waits.
func (h *harness) topics(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	brokers := []string{h.kafka}
	if err := kafkaio.EnsureTopics(ctx, brokers, 1, events.TopicAdmitted, events.TopicBookings,
		events.DLQ(events.TopicAdmitted), events.DLQ(events.TopicBookings), events.DLQ(events.TopicRooms)); err != nil {
		return err
	}
	return kafkaio.EnsureCompacted(ctx, brokers, 1, events.TopicRooms)
}

// script runs scripts/services on a folder; what it exports is the answer.
func (h *harness) script(ctx context.Context, verb, dir string, servers ...string) (map[string]string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(h.root, "scripts", "services"), append([]string{verb, "--dir", dir}, servers...)...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return nil, fmt.Errorf("scripts/services %s %s: %w: %s", verb, strings.Join(servers, " "), err, lines[len(lines)-1])
	}
	env := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "="); ok {
			env[name] = value
		}
	}
	return env, nil
}

// freeze has Kafka answer nobody until thaw: its connections stay open.
func (h *harness) freeze() error { return h.broker.Signal(syscall.SIGSTOP) }

func (h *harness) thaw() error { return h.broker.Signal(syscall.SIGCONT) }

func (h *harness) close() {
	if h.services != "" {
		// Its own context: the servers are stopped after a Ctrl-C as well.
		if _, err := h.script(context.Background(), "stop", h.services, "kafka", "mariadb"); err != nil {
			fmt.Fprintln(os.Stderr, "loss:", err)
			return // the folder holds the pids of what still runs
		}
	}
	if !h.keep && h.dir != "" {
		os.RemoveAll(h.dir)
	}
}

// nodes is how many there are: each takes 15,000 connections, and when one dies the
// others have to take its visitors.
func (h *harness) nodes() int { return max(2, (h.size.visitors()+perCrowd-1)/perCrowd) + 1 }

// ground is one run: a room with processes of its own on a Redis of its own.
type ground struct {
	h         *harness
	dir       string
	room      string
	redis     *redisServer // nil where the line is on a cluster
	cluster   *cluster
	env       []string
	epoch     string // as an operator has it on paper
	seats     int
	keys      string
	waitrooms []*child
	admitters []*child
	bookers   []*child
	nodes     []string // URLs
	shops     []string
	ops       map[*child]string
	more      []*redisServer // a replica
}

func (g *ground) path(name string) string { return filepath.Join(g.dir, name) }

func (g *ground) admitter(ctx context.Context, args ...string) error {
	_, err := once(ctx, filepath.Join(g.h.bin, "admitter"), g.env, args...)
	return err
}

// set are the flags of a room with this rate.
func (g *ground) set(rate int) []string {
	// A fifth of a second of the rate as burst, so that a busy machine keeps it. Slots
	// for everybody: what is counted at the end is that none stays taken.
	return []string{"--rate", strconv.Itoa(rate), "--burst", strconv.Itoa(max(2, rate/5)), "--max-active", "1000000",
		"--claim", g.h.size.Claim.String(), "--pass", g.h.size.Pass.String()}
}

// rate is what a line begins with: where it is short, more than ever come.
func (k kind) rate(size Size) int {
	if k.short {
		return 2 * size.Joins
	}
	return size.Rate
}

// build starts everything that a room needs, and opens it.
func (h *harness) build(ctx context.Context, k kind) (g *ground, err error) {
	g = &ground{h: h, dir: filepath.Join(h.dir, k.name), room: "loss-" + k.name, ops: map[*child]string{}}
	if err := os.MkdirAll(g.dir, 0o700); err != nil {
		return g, err
	}
	url := ""
	if k.cluster {
		if g.cluster, err = newCluster(ctx, h, g.dir); err != nil {
			return g, err
		}
		url = g.cluster.url
	} else {
		if g.redis, err = newRedis(ctx, g.dir, "redis"); err != nil {
			return g, err
		}
		url = g.redis.url()
	}
	g.env = []string{"WAITROOM_REDIS=" + url, "WAITROOM_KAFKA=" + h.kafka, "WAITROOM_DB=" + h.db}
	g.keys = g.path("keys.json")
	if _, err := once(ctx, filepath.Join(h.bin, "waitroom"), nil, "keys", "new", "--file", g.keys); err != nil {
		return g, err
	}
	if err := g.admitter(ctx, append([]string{"room", "create", g.room}, g.set(k.rate(h.size))...)...); err != nil {
		return g, err
	}
	// Twice what the shoppers will buy, so that nobody is told sold out.
	g.seats = 200 + int(2*h.size.Shop*float64(h.size.visitors()))
	if _, err := once(ctx, filepath.Join(h.bin, "booker"), g.env, "seats", "--room", g.room, "--count", strconv.Itoa(g.seats), "--new"); err != nil {
		return g, err
	}
	if err := g.processes(); err != nil {
		return g, err
	}
	if err := g.run(ctx, g.all()...); err != nil {
		return g, err
	}
	if err := g.admitter(ctx, "room", "open", g.room); err != nil {
		return g, err
	}
	c := g.client()
	defer c.Close()
	g.epoch, err = c.HGet(ctx, g.key("conf"), "epoch").Result()
	return g, err
}

// client asks the line itself, single or cluster.
func (g *ground) client() redis.UniversalClient {
	if g.cluster != nil {
		return g.cluster.client()
	}
	return g.redis.client()
}

func (g *ground) key(part string) string { return "wr1:{" + g.room + "}:" + part }

// processes describes them; run starts them.
func (g *ground) processes() error {
	process := func(binary string, i int, ops string, args ...string) *child {
		name := fmt.Sprint(binary, "-", i+1)
		c := newChild(name, filepath.Join(g.h.bin, binary), g.path(name+".log"), g.env, append([]string{"run", "--ops-listen", ops}, args...)...)
		g.ops[c] = ops
		return c
	}
	addresses := func(n int) (list []string, err error) {
		for range n {
			one, more := address()
			list, err = append(list, one), errors.Join(err, more)
		}
		return list, err
	}
	ports, err := addresses(2*g.h.nodes() + 2 + 4)
	if err != nil {
		return err
	}
	next := func() string { one := ports[0]; ports = ports[1:]; return one }
	jwks := ""
	for i := range g.h.nodes() {
		listen := next()
		g.nodes = append(g.nodes, "http://"+listen)
		jwks = "http://" + listen + "/.well-known/jwks.json"
		g.waitrooms = append(g.waitrooms, process("waitroom", i, next(), "--listen", listen, "--keys", g.keys, "--drain", "1s"))
	}
	for i := range 2 {
		g.admitters = append(g.admitters, process("admitter", i, next(), "--room", g.room))
	}
	for i := range 2 {
		listen := next()
		g.shops = append(g.shops, "http://"+listen)
		g.bookers = append(g.bookers, process("booker", i, next(), "--listen", listen, "--jwks", jwks))
	}
	return nil
}

func (g *ground) all() []*child {
	return append(append(append([]*child(nil), g.waitrooms...), g.admitters...), g.bookers...)
}

// run starts processes and waits until each says that it is ready.
func (g *ground) run(ctx context.Context, list ...*child) error {
	for _, c := range list {
		if err := c.start(); err != nil {
			return err
		}
	}
	for _, c := range list {
		if err := c.ready(ctx, g.ops[c]); err != nil {
			return fmt.Errorf("%w\n%s", err, tail(c.log))
		}
	}
	return nil
}

// close ends every process of the run: ours in order, so that no consumer group
// waits for the dead, then the servers.
func (g *ground) close() {
	stopAll(g.all())
	for _, r := range append(g.more, g.redis) {
		if r != nil {
			r.proc.kill()
		}
	}
	if g.cluster != nil {
		g.cluster.close()
	}
}

// tail is the end of a log.
func tail(name string) string {
	file, err := os.Open(name)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	var last []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		last = append(last, lines.Text())
		last = last[max(0, len(last)-10):]
	}
	return strings.Join(last, "\n")
}
