package admission

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zapcore"

	"waitroom/internal/events"
	"waitroom/internal/room"
)

// eighth is what a Kafka does not take whose one partition of eight has no leader.
func eighth(r events.Record) bool {
	return r.Topic == events.TopicAdmitted && r.Key[len(r.Key)-1]%8 == 3
}

// One partition of eight has no leader: what the others took is not published again,
// however long that lasts, and all is out of the outbox when it has one.
func TestPartitionWithoutLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.sick = eighth
		w.join(sale, 2000)
		_, logs, stop := serve(t, Config{}, w, w)
		time.Sleep(5 * time.Minute)
		w.mu.Lock()
		well := 0
		for _, r := range w.log {
			if !eighth(r) {
				well++
			}
			if got := w.tries[r.Headers["ce_id"]]; got != 1 {
				t.Fatalf("got %d tries of a record that was acknowledged, want 1", got)
			}
		}
		if want := 2000 - 2000/10; well < want { // of the decimal digits one is of the eighth
			t.Errorf("got %d records published, want all %d of the other partitions", well, want)
		}
		w.sick = nil
		w.mu.Unlock()
		lines := logs.FilterMessageSnippet("relay: admissions wait").All()
		if len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0].ContextMap()["error"]), "partition 3") || lines[0].ContextMap()["since"] == nil {
			t.Errorf("got %v, want one line that names the partition, and since when", lines)
		}
		time.Sleep(2*retryMost + time.Second)
		if !w.settled(sale) {
			t.Error("the outbox is not empty after the partition came back")
		}
		wantSaid(t, logs, "relay: works again", 1)
		stop()
		w.balance(t, sale, 2000)
		if len(w.log) != 2000 {
			t.Errorf("got %d records, want each of 2000 once", len(w.log))
		}
	})
}

// Entries in hand are kept, so that no other replica publishes them meanwhile.
func TestHeldEntriesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.sick = eighth
		w.join(sale, 50)
		var stops []func()
		for range 3 {
			c := &client{world: w, at: func(string, int) fault { return none }}
			_, _, stop := serve(t, Config{}, c, c)
			stops = append(stops, stop)
		}
		time.Sleep(3 * time.Minute)
		w.mu.Lock()
		for id, n := range w.lines[sale].kept {
			if n < 17 || n > 18 {
				t.Errorf("entry %s: got kept %d times in 3 minutes, want every 10 s", id, n)
			}
		}
		for _, r := range w.log {
			if got := w.tries[r.Headers["ce_id"]]; got != 1 {
				t.Errorf("got %d tries of a record that was acknowledged, want 1: two replicas had it", got)
			}
		}
		if len(w.lines[sale].kept) == 0 {
			t.Error("got no entry kept")
		}
		w.sick = nil
		w.mu.Unlock()
		time.Sleep(2*retryMost + time.Second)
		for _, stop := range stops {
			stop()
		}
		w.balance(t, sale, 50)
	})
}

// What a relay holds is bounded: at the bound it reads no further and says so.
func TestHeldIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.lines[sale].rate = 5000
		w.sick = eighth
		w.join(sale, 30_000)
		s, logs, stop := serve(t, Config{}, w, w)
		for range 60 {
			time.Sleep(time.Second)
			if got := s.held.Load(); got > heldMost+room.MaxEntry {
				t.Fatalf("got %d held, want %d at most", got, heldMost)
			}
		}
		if got := s.held.Load(); got < heldMost {
			t.Errorf("got %d held after a minute, want the bound", got)
		}
		wantSaid(t, logs, "relay: as many admissions as it holds wait for Kafka, it reads no further; the others stay in the outbox", 1)
		w.mu.Lock()
		w.sick = nil
		w.mu.Unlock()
		time.Sleep(10 * time.Second)
		wantSaid(t, logs, "relay: reads on", 1)
		if got := s.held.Load(); got != 0 {
			t.Errorf("got %d held at the end, want 0", got)
		}
		stop()
		w.balance(t, sale, 30_000)
	})
}

// All relays together hold no more than their share either, and each goes on entry
// by entry.
func TestHeldByAllIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(many()[:20]...)
		w.away = errSick
		for name, l := range w.lines {
			l.rate = 5000
			w.join(name, 8_000)
		}
		s, _, stop := serve(t, Config{}, w, w)
		time.Sleep(30 * time.Second)
		if got := s.held.Load(); got < heldByAll*8/10 || got > heldByAll+20*room.MaxEntry {
			t.Errorf("got %d held, want about %d and an entry for each room at most", got, heldByAll)
		}
		w.mu.Lock()
		w.away = nil
		w.mu.Unlock()
		time.Sleep(20 * time.Second)
		for name := range w.lines {
			if !w.settled(name) {
				t.Errorf("room %s: the outbox is not empty after Kafka came back", name)
			}
		}
		stop()
	})
}

// An entry that can't be read goes to the dead letter topic with an alarm, once, and
// those around it are relayed as ever.
func TestUnreadableEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.lines[sale].put(room.Entry{Count: 7, Raw: "v=? n=x", Err: errors.New("number x")})
		w.join(sale, 30)
		_, logs, stop := serve(t, Config{}, w, w)
		eventually(t, "all is out of the outbox", func() bool { return w.settled(sale) })
		stop()
		w.balance(t, sale, 30)
		if len(w.dlq) != 1 || string(w.dlq[0].Value) != "v=? n=x" || !strings.Contains(w.dlq[0].Headers["dlq_error"], "number x") ||
			w.dlq[0].Headers["room"] != string(sale) || w.dlq[0].Headers["entry"] == "" {
			t.Errorf("got dead letters %v, want the raw entry with its error", w.dlq)
		}
		alarms := logs.FilterMessage("an entry of the outbox can't be read, it goes to the dead letter topic").All()
		if len(alarms) != 1 || alarms[0].Level != zapcore.ErrorLevel {
			t.Errorf("got %v, want one error", alarms)
		}
	})
}

// A dead letter topic that does not take its records holds up nothing else.
func TestDeadLetterTopicAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.sick = func(r events.Record) bool { return r.Topic != events.TopicAdmitted }
		w.lines[sale].put(room.Entry{Count: 7, Raw: "?", Err: errors.New("number x")})
		w.join(sale, 200)
		_, _, stop := serve(t, Config{}, w, w)
		time.Sleep(10 * time.Second)
		stop()
		if got := w.lines[sale].depth(); got != 7 {
			t.Errorf("got %d in the outbox, want the dead entry alone", got)
		}
		delete(w.lines[sale].outbox, "1-0")
		w.balance(t, sale, 200)
	})
}

// Many rooms share the calls of one publisher.
func TestRoomsShareCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(many()[:200]...)
		w.block = time.Second
		for name := range w.lines {
			w.join(name, 3)
		}
		_, _, stop := serve(t, Config{}, w, w)
		began := time.Now()
		eventually(t, "all rooms' admissions are in Kafka", func() bool {
			for name := range w.lines {
				if !w.settled(name) {
					return false
				}
			}
			return true
		})
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("200 rooms took %s over calls of a second, want them together", took)
		}
		stop()
		for _, broken := range w.broken {
			t.Error(broken)
		}
	})
}

// A partition that has its leader back gets what it missed within the longest pause, in a
// room that goes on admitting too: its answers come faster than any pause ends.
func TestABusyRoomRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.sick = eighth
		w.join(sale, 10_000) // 50 s at 200/s
		_, logs, stop := serve(t, Config{}, w, w)
		time.Sleep(3 * time.Second)
		w.mu.Lock()
		w.sick = nil
		w.mu.Unlock()
		time.Sleep(retryMost + time.Second)
		w.mu.Lock()
		late := 0
		for id := range w.tries {
			if !w.sent[id] {
				late++
			}
		}
		w.mu.Unlock()
		if late > 2 { // of this moment
			t.Errorf("got %d records not published %s after the partition came back", late, retryMost+time.Second)
		}
		wantSaid(t, logs, "relay: works again", 1)
		time.Sleep(time.Minute)
		stop()
		w.balance(t, sale, 10_000)
		if len(w.log) != 10_000 {
			t.Errorf("got %d records, want each of 10,000 once", len(w.log))
		}
	})
}
