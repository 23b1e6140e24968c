package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"waitroom/internal/bot"
	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// What is written down of a visitor who is told a position, is let in, loses its
// turn, and is let in at its second place.
func TestHear(t *testing.T) {
	v := newVisitors(Order{Joins: 1}, func() {})
	o := &one{}
	stay := func(visitor string, number, position int) bot.Stay {
		return bot.Stay{Visitor: room.VisitorID(visitor), Epoch: "e", Number: room.Number(number), Last: room.Position(position)}
	}
	passed := stay("b", 9, 0)
	passed.Admission, passed.Moves = "show.e.9.b", 1
	for _, h := range []bot.Heard{
		{Type: wire.Error, Code: wire.Recovering},
		{Type: wire.Joined, Place: "p", Stay: stay("a", 7, 0)},
		{Type: wire.Room, State: room.ShownOpen, Place: "p", Stay: stay("a", 7, 0)},
		{Type: wire.Position, Place: "p", Stay: stay("a", 7, 3)},
		{Type: wire.Joined, Place: "p", Stay: stay("a", 7, 3)}, // came back
		{Type: wire.Admitted, Place: "p", Stay: stay("a", 7, 3)},
		{Type: wire.Missed, Stay: stay("a", 7, 3)},
		{Type: wire.Missed, Stay: stay("a", 7, 3)},
		{Type: wire.Joined, Place: "q", Stay: stay("b", 9, 0)},
		{Type: wire.Pass, Place: "q", Stay: passed},
		{Type: wire.Spent, Stay: passed}, // with a pass in hand
	} {
		v.hear(o, h)
	}
	stays := o.person.Stays
	if len(stays) != 2 {
		t.Fatalf("got %d stays, want 2: %+v", len(stays), stays)
	}
	for _, s := range stays {
		for _, at := range []*int64{&stays[0].JoinedUS, &stays[0].PositionUS, &stays[0].AdmitUS, &stays[1].JoinedUS, &stays[1].PassUS} {
			if *at == 0 {
				t.Errorf("a moment is missing in %+v", s)
			}
		}
	}
	for i := range stays {
		stays[i].JoinedUS, stays[i].PositionUS, stays[i].AdmitUS, stays[i].PassUS = 0, 0, 0, 0
	}
	want := Person{Frights: []string{"missed", "spent"}, Stays: []Stay{
		{Visitor: "a", Epoch: "e", Number: 7, Position: 3, Gone: "missed"},
		{Visitor: "b", Epoch: "e", Number: 9, Admission: "show.e.9.b", Moves: 1},
	}}
	if !reflect.DeepEqual(o.person, want) {
		t.Errorf("got %+v\nwant %+v", o.person, want)
	}
	if o.place != "q" || v.placed.Load() != 1 || v.passed.Load() != 1 {
		t.Errorf("got place %q, %d placed, %d passed, want q, 1, 1", o.place, v.placed.Load(), v.passed.Load())
	}
}

// The first position told after a moment is found again, to 10 ms, and what was
// told survives the file.
func TestFarewell(t *testing.T) {
	v := newVisitors(Order{Joins: 1, File: filepath.Join(t.TempDir(), "told.jsonl")}, func() {})
	v.persons = []*one{{person: Person{Stays: []Stay{let("a", 1, 90, 95)}, End: "left"}}, {person: Person{End: "stopped", Frights: []string{"spent"}}}}
	for _, ms := range []int{100, 1500, 1700} {
		v.tell(v.began.Add(time.Duration(ms) * time.Millisecond))
	}
	got, err := v.end(v.began.Add(time.Second).UnixMicro())
	if at := time.UnixMicro(got.PositionUS).Sub(v.began); err != nil || at < 1490*time.Millisecond || at > 1500*time.Millisecond {
		t.Errorf("got a position after %s, %v, want 1.5 s", at, err)
	}
	persons, err := readPersons(v.order.File)
	if want := []Person{v.persons[0].person, v.persons[1].person}; err != nil || !reflect.DeepEqual(persons, want) {
		t.Errorf("got %+v, %v\nwant %+v", persons, err, want)
	}
	if got, err := v.end(v.began.Add(2 * time.Second).UnixMicro()); err != nil || got.PositionUS != 0 {
		t.Errorf("after the last position: got %v, %v, want none", got, err)
	}
}

func TestCut(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		sizes []int64 // 10 s ago, then each second
		cut   time.Duration
		want  int64 // bytes left
		err   string
	}{
		"a second":          {[]int64{0, 0, 0, 0, 0, 0, 0, 50, 70, 90, 100}, time.Second, 90, ""},
		"five":              {[]int64{0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100}, 5 * time.Second, 50, ""},
		"nothing written":   {[]int64{0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 100}, time.Second, 100, "nothing was written"},
		"no sample so old":  {[]int64{100}, 11 * time.Second, 100, "no sample"},
		"no sample, no cut": {nil, time.Second, 100, "no sample"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &redisServer{dir: t.TempDir()}
			file := filepath.Join(s.dir, "appendonlydir", "appendonly.aof.1.incr.aof")
			if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, make([]byte, 100), 0o600); err != nil {
				t.Fatal(err)
			}
			for i, bytes := range c.sizes {
				s.sizes = append(s.sizes, size{now.Add(time.Duration(i-10) * time.Second), bytes})
			}
			gone, err := s.cut(now, c.cut)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("got error %v, want %q", err, c.err)
			}
			if info, err := os.Stat(file); err != nil || info.Size() != c.want || gone != 100-c.want {
				t.Errorf("got %d bytes gone, %v left (%v), want %d left", gone, info.Size(), err, c.want)
			}
		})
	}
}

func TestFindNode(t *testing.T) {
	c := &cluster{dir: t.TempDir()}
	for i := range clusterNodes {
		name := filepath.Join(c.dir, fmt.Sprint("cluster", i+1))
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{"port": fmt.Sprintln(7001 + i), "pid": fmt.Sprintf("%d 123@boot\n", 900+i)} {
			if err := os.WriteFile(filepath.Join(name, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if pid, survivor, err := c.find("7003"); pid != 902 || survivor == "7003" || survivor == "" || err != nil {
		t.Errorf("got pid %d, survivor %s, %v, want 902 and another port", pid, survivor, err)
	}
	if _, _, err := c.find("7009"); err == nil {
		t.Error("a port that is nobody's: got no error")
	}
}
