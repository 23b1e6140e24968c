package booking_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// tapLimit is how long is waited for what some loop does: seconds, under the race detector
// on a busy machine a minute.
const tapLimit = 2 * time.Minute

// tap stands between a pool and its MySQL and reads along: every statement that really
// runs, as the server gets it, with its values.
type tap struct {
	dsn string // the server's, by way of the tap

	fresh chan struct{} // of one: another shape was noted
	wait  sync.WaitGroup
	mu    sync.Mutex
	on    bool
	// Guarded by mu: the longest statement of each shape, and the connections.
	shapes map[string]string
	conns  []net.Conn
}

// newTap begins to read along. It ends with the test, after the pools, whose Cleanup
// comes later than this call.
func newTap(t *testing.T, dsn string) *tap {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := u.Host
	u.Host = l.Addr().String()
	p := &tap{dsn: u.String(), shapes: map[string]string{}, fresh: make(chan struct{}, 1)}
	p.wait.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			p.wait.Go(func() { p.read(out, in); out.Close() })
			p.wait.Go(func() { io.Copy(in, out); in.Close() })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.wait.Wait()
	})
	return p
}

// Commands of the protocol: the first packet of each has the number 0.
const (
	comQuery   = 0x03
	comPrepare = 0x16
)

// read copies packets of a client: three bytes of length, a number, the payload.
func (p *tap) read(to io.Writer, from io.Reader) {
	header := make([]byte, 4)
	for {
		if _, err := io.ReadFull(from, header); err != nil {
			return
		}
		size := int(binary.LittleEndian.Uint32(header) & 0xffffff)
		packet := make([]byte, 4+size)
		copy(packet, header)
		if _, err := io.ReadFull(from, packet[4:]); err != nil {
			return
		}
		if header[3] == 0 && size > 1 && (packet[4] == comQuery || packet[4] == comPrepare) {
			p.note(string(packet[5:]))
		}
		if _, err := to.Write(packet); err != nil {
			return
		}
	}
}

// turn has the tap note statements, or not.
func (p *tap) turn(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.on = on
}

func (p *tap) note(statement string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.on {
		return
	}
	for _, one := range splitStatements(statement) {
		s := shape(one)
		if p.shapes[s] == "" {
			select {
			case p.fresh <- struct{}{}:
			default: // it is said already
			}
		}
		if len(one) > len(p.shapes[s]) {
			p.shapes[s] = one
		}
	}
}

// await returns when a statement was noted whose shape is like a pattern.
func (p *tap) await(t *testing.T, what, like string) {
	t.Helper()
	pattern := regexp.MustCompile(like)
	for late := time.After(tapLimit); ; {
		for shape := range p.statements() {
			if pattern.MatchString(shape) {
				return
			}
		}
		select {
		case <-p.fresh:
		case <-late:
			t.Fatalf("%s: no statement is like %s", what, like)
		}
	}
}

// statements are one of each shape.
func (p *tap) statements() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[string]string{}
	for s, one := range p.shapes {
		all[s] = one
	}
	return all
}

var (
	value = regexp.MustCompile(`(_binary)?'(?:[^'\\]|\\.|'')*'|(?:\B-)?\b\d+\b`)
	cases = regexp.MustCompile(`(?: WHEN \? THEN \?)+`)
	list  = regexp.MustCompile(`\?(?:, ?\?)+`)
	tuple = regexp.MustCompile(`\(\?…\)(?:, ?\(\?…\))+`)
)

// shape is a statement without its values, and with each list shortened.
func shape(statement string) string {
	s := value.ReplaceAllString(statement, "?")
	s = cases.ReplaceAllString(s, " WHEN ? THEN ?")
	s = list.ReplaceAllString(s, "?…")
	return strings.Join(strings.Fields(tuple.ReplaceAllString(s, "(?…)")), " ")
}

// splitStatements takes several statements of one trip apart.
func splitStatements(text string) (list []string) {
	bare := value.ReplaceAllStringFunc(text, func(v string) string { return strings.Repeat("x", len(v)) })
	for {
		i := strings.IndexByte(bare, ';')
		if i < 0 {
			break
		}
		list = append(list, strings.TrimSpace(text[:i]))
		text, bare = text[i+1:], bare[i+1:]
	}
	if rest := strings.TrimSpace(text); rest != "" {
		list = append(list, rest)
	}
	return list
}

func TestShape(t *testing.T) {
	for statement, want := range map[string]string{
		`SELECT id FROM seats WHERE room = 'a\'b' AND id IN ('A-1', 'A-2') LIMIT 100`:        "SELECT id FROM seats WHERE room = ? AND id IN (?…) LIMIT ?",
		"UPDATE t SET a = a - 1 WHERE b = -1":                                                "UPDATE t SET a = a - ? WHERE b = ?",
		"INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'it''s')":                                 "INSERT INTO t (a, b) VALUES (?…)",
		"UPDATE t SET a = CASE id WHEN 'x' THEN 1 WHEN 'y' THEN 2 END WHERE id IN ('x','y')": "UPDATE t SET a = CASE id WHEN ? THEN ? END WHERE id IN (?…)",
	} {
		if got := shape(statement); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := splitStatements("SELECT ';' ; COMMIT;"); len(got) != 2 || got[0] != "SELECT ';'" || got[1] != "COMMIT" {
		t.Errorf("got %q, want two statements", got)
	}
}
