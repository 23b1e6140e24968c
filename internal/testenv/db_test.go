package testenv

import (
	"context"
	"database/sql"
	"net"
	"os"
	"testing"
	"time"
)

// A MariaDB of a test's own keeps its data over a kill, freezes and wakes, and refuses
// the shop's user while it is read only.
func TestMariaDB(t *testing.T) {
	s := StartMariaDB(t)
	read := func() (n int, err error) {
		err = s.admin(func(ctx context.Context, db *sql.DB) error {
			return db.QueryRowContext(ctx, "SELECT COUNT(*) FROM shop.a").Scan(&n)
		})
		return n, err
	}
	s.Exec("CREATE TABLE shop.a (id INT NOT NULL PRIMARY KEY)", "INSERT INTO shop.a VALUES (1)")
	s.Kill()
	if _, err := net.Dial("tcp", s.Addr()); err == nil {
		t.Error("after a kill somebody still listens")
	}
	s.Restart()
	if n, err := read(); n != 1 || err != nil {
		t.Errorf("after a kill: got %d rows, %v, want 1", n, err)
	}
	s.Pause()
	done := make(chan error, 1)
	go func() { _, err := read(); done <- err }() // ends once the server is awake
	select {
	case err := <-done:
		t.Errorf("frozen: got an answer, %v", err)
	case <-time.After(200 * time.Millisecond): // an awake one needs a few
	}
	s.Resume()
	if err := <-done; err != nil {
		t.Errorf("awake again: %v", err)
	}
}

// A silent relay forwards neither bytes nor an end, and lets new connections pass; a cut
// is seen on both sides.
func TestRelay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := NewRelay(t, l.Addr().String())
	pair := func() (near, far net.Conn) {
		near, err := net.Dial("tcp", r.Addr)
		if err != nil {
			t.Fatal(err)
		}
		if far, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { near.Close(); far.Close() })
		return near, far
	}
	say := func(from, to net.Conn, wait time.Duration) error {
		if _, err := from.Write([]byte("x")); err != nil {
			return err
		}
		to.SetReadDeadline(time.Now().Add(wait))
		_, err := to.Read(make([]byte, 1))
		return err
	}
	const soon, never = wait, 100 * time.Millisecond // a forwarded byte takes less than a millisecond
	near, far := pair()
	if err := say(near, far, soon); err != nil {
		t.Fatal(err)
	}
	r.Silence()
	for i, c := range [][2]net.Conn{{near, far}, {far, near}} {
		if err := say(c[0], c[1], never); !os.IsTimeout(err) {
			t.Errorf("silent, direction %d: got %v, want nothing heard", i, err)
		}
	}
	near.Close()
	far.SetReadDeadline(time.Now().Add(never))
	if _, err := far.Read(make([]byte, 1)); !os.IsTimeout(err) {
		t.Errorf("silent, closed on the other side: got %v, want nothing heard", err)
	}
	near, far = pair()
	if err := say(far, near, soon); err != nil {
		t.Errorf("a new connection: %v", err)
	}
	r.Cut()
	for _, c := range []net.Conn{near, far} {
		c.SetReadDeadline(time.Now().Add(soon))
		if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Errorf("cut: got %v, want an end", err)
		}
	}
	if got := r.Opened(); got != 2 {
		t.Errorf("got %d connections opened, want 2", got)
	}
}
