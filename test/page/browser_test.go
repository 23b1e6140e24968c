package page

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"waitroom/test/internal/child"
)

// patience bounds one command to the browser; the driver gives up before.
const patience = 30 * time.Second

// browser is the one Chromium of this package, which test/browser/driver.mjs
// commands. It starts with the first page and ends with the tests. Safe for use
// by several goroutines.
type browser struct {
	once   sync.Once
	failed error // of the start

	cmd    *exec.Cmd
	stderr bytes.Buffer // read after the end
	done   chan struct{}

	mu      sync.Mutex
	in      io.WriteCloser
	last    int
	waiting map[int]chan answer
}

type answer struct {
	ID    int             `json:"id"`
	Value json.RawMessage `json:"value"`
	Error string          `json:"error"`
}

var chromium = &browser{waiting: map[int]chan answer{}}

func (b *browser) start() error {
	b.once.Do(func() { b.failed = b.launch() })
	return b.failed
}

func (b *browser) launch() error {
	dir := filepath.Join("..", "browser")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "playwright-core")); err != nil {
		return errors.New("playwright-core is missing: run `npm ci` in test/browser")
	}
	b.cmd = exec.Command("node", "driver.mjs")
	b.cmd.Dir, b.cmd.Stderr = dir, &b.stderr
	b.cmd.WaitDelay = 5 * time.Second // chromium's pipes may outlive a killed node
	in, err := b.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	hello := make(chan answer, 1)
	b.in, b.waiting[0], b.done = in, hello, make(chan struct{})
	if err := b.cmd.Start(); err != nil {
		return err
	}
	go b.read(out)
	select {
	case <-hello:
		return nil
	case <-b.done:
		return fmt.Errorf("the driver ended at once:\n%s", &b.stderr)
	case <-time.After(patience):
		return fmt.Errorf("chromium did not start within %s", patience)
	}
}

// read hands answers out until the driver ends; stop waits for it.
func (b *browser) read(out io.Reader) {
	defer close(b.done)
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			a.Error = err.Error()
		}
		b.mu.Lock()
		c := b.waiting[a.ID]
		delete(b.waiting, a.ID)
		b.mu.Unlock()
		if c != nil {
			c <- a // it has room for one, and one comes
		}
	}
	_ = b.cmd.Wait() // how it ended is told by those who wait for an answer
}

// ask gives a command and decodes its value into out, if that is not nil.
func (b *browser) ask(out any, do string, more map[string]any) error {
	command := map[string]any{"do": do}
	for k, v := range more {
		command[k] = v
	}
	c := make(chan answer, 1)
	b.mu.Lock()
	b.last++
	command["id"] = b.last
	b.waiting[b.last] = c
	line, err := json.Marshal(command)
	if err == nil {
		_, err = b.in.Write(append(line, '\n'))
	}
	b.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case a := <-c:
		if a.Error != "" {
			return errors.New(a.Error)
		}
		if out == nil {
			return nil
		}
		return json.Unmarshal(a.Value, out)
	case <-b.done:
		return errors.New("the driver has ended")
	case <-time.After(patience):
		return fmt.Errorf("no answer to %s within %s", do, patience)
	}
}

// stop ends the browser by ending the driver's input; the driver that does not
// end is killed by its pid. It does nothing where none was started.
func (b *browser) stop() error {
	if b.cmd == nil || b.cmd.Process == nil {
		return nil
	}
	b.in.Close()
	select {
	case <-b.done:
		return nil
	case <-time.After(patience):
		_ = b.cmd.Process.Kill()
		<-b.done
		return fmt.Errorf("did not end within %s:\n%s", patience, &b.stderr)
	}
}

// tab is one open page. Not for use by several goroutines at once.
type tab struct {
	t    *testing.T
	id   int64
	name string
	url  string
	log  []entry // what it asked and heard, as far as it was read
}

// entry is one thing that a page did or heard.
type entry struct {
	At   float64 `json:"at"` // ms since 1970
	What string  `json:"what"`
	ID   string  `json:"id"` // of the request or the WebSocket
	URL  string  `json:"url"`
	Text string  `json:"text"`
	Code int     `json:"code"`
}

func (e entry) time() time.Time { return time.UnixMicro(int64(e.At * 1000)) }

// says is the type of a frame's message, "" for anything else.
func (e entry) says() string {
	if e.What != "sent" && e.What != "heard" {
		return ""
	}
	var m struct {
		Type, Code, State string
		Position, Number  int64
	}
	if json.Unmarshal([]byte(e.Text), &m) != nil {
		return ""
	}
	return m.Type
}

func (e entry) field(name string) any {
	var m map[string]any
	_ = json.Unmarshal([]byte(e.Text), &m) // no message has no field
	return m[name]
}

// brief is the entry for a person: no token, no asset's whole address.
func (e entry) brief() string {
	text := e.Text
	if s := e.says(); s != "" {
		text = s
		for _, name := range []string{"number", "position", "code", "state", "claim_ms", "retry_ms", "beat_ms"} {
			if v := e.field(name); v != nil {
				text += fmt.Sprintf(" %s=%v", name, v)
			}
		}
	}
	url := e.URL[strings.LastIndexByte(e.URL, '/')+1:]
	return strings.Join(strings.Fields(fmt.Sprintf("%s %-8s %s %s %s", e.time().Format("05.000"), e.What, url, text, e.ID)), " ")
}

// seen is what a person sees on a page.
type seen struct {
	Phase, Link, Word, Position, Text, URL, Visible, Place string
}

// flat is the text in one line.
func (s seen) flat() string { return strings.Join(strings.Fields(s.Text), " ") }

func (s seen) String() string {
	return fmt.Sprintf("phase %q, link %q (%q), position %q, %s: %q", s.Phase, s.Link, s.Word, s.Position, s.URL, s.flat())
}

var tabs atomic.Int64

// loading has room for the pages that may load at once: more of them on two cores
// would each take longer than what the tests measure elsewhere.
var loading = make(chan struct{}, 2)

// setup bounds what a test only stands on. What it proves has limits of its own.
const setup = time.Minute

// failing has the first times requests whose address has part answered by status;
// 0 breaks their connection.
type failing struct {
	Part   string `json:"part"`
	Times  int    `json:"times"`
	Status int    `json:"status"`
}

// open opens an address as a new visitor, who is told from others by the host:
// every name below localhost is this machine.
func open(t *testing.T, url string, fail ...failing) *tab {
	t.Helper()
	p := newTab(t)
	p.url = strings.Replace(url, "127.0.0.1", fmt.Sprintf("v%d.localhost", p.id), 1)
	p.load(map[string]any{"fail": fail})
	if len(fail) == 0 {
		p.loaded()
	}
	return p
}

// again opens another tab of the same visitor.
func (p *tab) again() *tab {
	p.t.Helper()
	other := newTab(p.t)
	other.url = p.url
	other.load(nil)
	other.loaded()
	return other
}

// openAlone opens an address in a browser of its own, which can be frozen.
func openAlone(t *testing.T, url string) *tab {
	t.Helper()
	p := newTab(t)
	p.url = url
	p.load(map[string]any{"alone": true})
	p.loaded()
	return p
}

func newTab(t *testing.T) *tab {
	t.Helper()
	if err := chromium.start(); err != nil {
		t.Fatal(err)
	}
	id := tabs.Add(1)
	return &tab{t: t, id: id, name: fmt.Sprintf("%s-%d", t.Name(), id)}
}

func (p *tab) load(more map[string]any) {
	p.t.Helper()
	if more == nil {
		more = map[string]any{}
	}
	more["url"] = p.url
	p.t.Cleanup(func() {
		if p.t.Failed() {
			p.tell()
		}
		_ = chromium.ask(nil, "close", map[string]any{"page": p.name}) // it is none that failed to open
	})
	loading <- struct{}{}
	defer func() { <-loading }()
	p.ask(nil, "open", more)
}

// loaded waits until the page has asked for its connection.
func (p *tab) loaded() {
	p.t.Helper()
	watch(p.t, setup, p.name+" is loaded", func() (bool, string) {
		return p.count(time.Time{}, "dial") > 0, fmt.Sprint(len(p.log), " entries")
	})
}

// tell prints what the page shows, and the end of what it did and heard.
func (p *tab) tell() {
	s, err := p.peek()
	p.read()
	from := max(0, len(p.log)-40)
	lines := make([]string, 0, 40)
	for _, e := range p.log[from:] {
		lines = append(lines, e.brief())
	}
	p.t.Logf("page %s (%v): %s\n%s", p.name, err, s, strings.Join(lines, "\n"))
}

func (p *tab) ask(out any, do string, more map[string]any) {
	p.t.Helper()
	if more == nil {
		more = map[string]any{}
	}
	more["page"] = p.name
	if err := chromium.ask(out, do, more); err != nil {
		p.t.Fatalf("%s: %s: %v", p.name, do, err)
	}
}

// peek is look for a page that may be on its way to another.
func (p *tab) peek() (seen, error) {
	var s seen
	return s, chromium.ask(&s, "look", map[string]any{"page": p.name})
}

// see waits until the page shows a text that matches.
func (p *tab) see(within time.Duration, pattern string) seen {
	p.t.Helper()
	want := regexp.MustCompile("(?is)" + pattern)
	return p.until(within, fmt.Sprintf("the page shows %s", want), func(s seen) bool { return want.MatchString(s.flat()) })
}

// turn waits until the page offers the way in.
func (p *tab) turn(within time.Duration) {
	p.t.Helper()
	p.until(within, "the page offers the way in", func(s seen) bool {
		return s.Phase == "turn" && strings.Contains(s.flat(), "Choose seats")
	})
}

// until waits for a fact of what the page shows.
func (p *tab) until(within time.Duration, what string, fact func(seen) bool) seen {
	p.t.Helper()
	var last seen
	watch(p.t, within, p.name+": "+what, func() (bool, string) {
		s, err := p.peek()
		if err != nil {
			return false, err.Error()
		}
		last = s
		return fact(s), s.String()
	})
	return last
}

// watch is child.Await for what a browser has to be asked for: ten times a second,
// or a dozen tests that look on would be what the pages wait for.
func watch(t *testing.T, limit time.Duration, what string, look func() (bool, string)) {
	t.Helper()
	next := time.Now()
	child.Await(t, limit, what, func() (bool, string) {
		time.Sleep(time.Until(next)) // between two looks at a fact, not instead of one
		next = time.Now().Add(100 * time.Millisecond)
		return look()
	})
}

func (p *tab) click(selector string) {
	p.t.Helper()
	p.ask(nil, "click", map[string]any{"selector": selector})
}

// read fetches what the page did since the last time.
func (p *tab) read() []entry {
	var more []entry
	if err := chromium.ask(&more, "log", map[string]any{"page": p.name, "from": len(p.log)}); err == nil {
		p.log = append(p.log, more...)
	}
	return p.log
}

// heard waits until the page heard count messages of a type after a moment, and
// returns the last of them.
func (p *tab) heard(within time.Duration, after time.Time, count int, says string) entry {
	p.t.Helper()
	var found []entry
	watch(p.t, within, fmt.Sprintf("%s hears %s", p.name, says), func() (bool, string) {
		found = p.messages(after, "heard", says)
		return len(found) >= count, fmt.Sprintf("%d of %d", len(found), count)
	})
	return found[len(found)-1]
}

// returned waits until the page stands in line on a connection that it opened
// after a moment, and returns when it heard its position there.
func (p *tab) returned(within time.Duration, after time.Time) time.Time {
	p.t.Helper()
	var back time.Time
	watch(p.t, within, p.name+" stands in line on a new connection", func() (bool, string) {
		open := false
		for _, e := range p.read() {
			switch {
			case e.time().Before(after):
			case e.What == "open":
				open = true
			case open && e.says() == "position":
				back = e.time()
				return true, ""
			}
		}
		return false, fmt.Sprintf("a new connection: %v", open)
	})
	return back
}

// messages are the frames of a type that the page sent or heard after a moment.
func (p *tab) messages(after time.Time, what, says string) []entry {
	return slices.DeleteFunc(slices.Clone(p.read()), func(e entry) bool {
		return e.What != what || e.says() != says || e.time().Before(after)
	})
}

// count is how many entries of a kind there are after a moment.
func (p *tab) count(after time.Time, what string) int {
	n := 0
	for _, e := range p.read() {
		if e.What == what && !e.time().Before(after) {
			n++
		}
	}
	return n
}
