package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"waitroom/internal/events"
	"waitroom/internal/sqldb"
)

const (
	beginLimit  = 3 * time.Minute  // of a cluster and ten processes; 10 s on an idle machine
	hurryLimit  = 20 * time.Second // a line that is recovering may refuse an operator for so long
	relayLimit  = 60 * time.Second // an entry that a killed admitter had read comes again after 30 s
	bookerLimit = 60 * time.Second
)

// within is run with an end.
func (h *harness) within(ctx context.Context, k kind) (Row, error) {
	limited, cancel := context.WithTimeout(ctx, h.size.most())
	defer cancel()
	row, err := h.run(limited, k)
	if limited.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("not over within %s: %w", h.size.most(), err)
	}
	return row, err
}

// run is one kind of loss, from an empty Redis to the verdict.
func (h *harness) run(ctx context.Context, k kind) (row Row, err error) {
	began := time.Now()
	row = Row{Kind: k.name, What: k.what}
	defer func() { row.Seconds, row.Load = time.Since(began).Seconds(), load() }()
	from, err := h.offsets(ctx)
	if err != nil {
		return row, err
	}
	g, err := h.build(ctx, k)
	defer g.close()
	if err != nil {
		return row, err
	}
	if k.prepare != nil {
		if err := k.prepare(ctx, g); err != nil {
			return row, err
		}
	}
	sampling, enough := context.WithCancel(ctx)
	defer enough()
	if g.redis != nil {
		go g.redis.sample(sampling) // ends with the run
	}
	var own watch
	go own.run(sampling) // ends with the run
	all, err := h.gather(ctx, g)
	if err != nil {
		return row, err
	}
	defer all.end()

	first := time.Now()
	if k.ready != nil {
		if err := pause(ctx, time.Until(first.Add(h.size.lossAt()-k.before))); err != nil {
			return row, err
		}
		if err := k.ready(ctx, g); err != nil {
			return row, err
		}
	}
	if err := pause(ctx, time.Until(first.Add(h.size.lossAt()))); err != nil {
		return row, err
	}
	facts := Facts{LossUS: time.Now().UnixMicro()}
	if row.Took, err = k.take(ctx, g, all); err != nil {
		return row, errors.Join(err, h.thaw())
	}
	facts.UpUS = time.Now().UnixMicro()
	if err := await(ctx, h.size.For+startLimit, "everybody has come", func() (bool, string) {
		now, err := all.counts()
		return err != nil || now.Came == h.size.visitors(), fmt.Sprint(now, err)
	}); err != nil {
		return row, err
	}
	if !k.short { // a long line is let in once the crowd is complete
		if err := g.hurry(ctx); err != nil {
			row.Took += "; the operator could not raise the rate: " + err.Error()
		}
	}
	if facts.Still, err = all.settle(ctx, h.size); err != nil {
		return row, err
	}
	facts.EndUS = time.Now().UnixMicro()
	if facts.Persons, facts.PositionUS, row.Pace, err = all.farewell(ctx, facts.UpUS); err != nil {
		return row, err
	}
	row.Pace = row.Pace.worse(Pace{Still: own.longest()})
	row.Slow = row.Pace.tooSlow(h.size)
	if err := g.books(ctx, from, &facts); err != nil {
		return row, err
	}
	row.Verdict = judge(facts)
	return row, h.sound(row.Verdict)
}

// sound refuses a run that cannot have shown anything.
func (h *harness) sound(v Verdict) error {
	switch {
	case v.Before == 0:
		return errors.New("nobody joined before the loss: nothing was shown")
	case v.Before < h.size.visitors()/4:
		return fmt.Errorf("only %d of %d visitors joined before the loss: the machine is too slow for so many", v.Before, h.size.visitors())
	}
	return nil
}

// hurry raises the rate so that the whole line is let in within some seconds. A line
// that is recovering may refuse it for a while.
func (g *ground) hurry(ctx context.Context) error {
	var last error
	err := await(ctx, hurryLimit, "the rate is raised", func() (bool, string) {
		last = g.admitter(ctx, append([]string{"set", g.room}, g.set(g.h.size.Hurry)...)...)
		return last == nil, ""
	})
	if err != nil && last != nil {
		return last
	}
	return err
}

// books waits until what is on its way has arrived, and reads what was written down.
func (g *ground) books(ctx context.Context, from []int64, f *Facts) error {
	c := g.client()
	defer c.Close()
	count := func(cmd string, part string) int64 {
		n, err := c.Do(ctx, cmd, g.key(part)).Int64()
		if err != nil {
			return -1
		}
		return n
	}
	if err := await(ctx, g.h.size.slotsLimit(), "all slots are free", func() (bool, string) {
		f.Slots = count("ZCARD", "unclaimed") + count("ZCARD", "active")
		return f.Slots == 0, ""
	}); ctx.Err() != nil {
		return err
	}
	if f.Slots < 0 {
		return errors.New("the slots are not told by redis")
	}
	// What never arrives is judged, not waited for for ever.
	if err := await(ctx, relayLimit, "the outbox is empty", func() (bool, string) {
		return count("XLEN", "outbox") == 0, ""
	}); ctx.Err() != nil {
		return err
	}
	var err error
	if f.Admissions, err = g.h.admissions(ctx, g.room, from); err != nil {
		return err
	}
	ids := map[string]bool{}
	for _, a := range f.Admissions {
		ids[a.ID] = true
	}
	db, err := sqldb.Open(ctx, g.h.db)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := await(ctx, bookerLimit, "every admission is in SQL", func() (bool, string) {
		rows := 0
		err := db.GetContext(ctx, &rows, "SELECT COUNT(*) FROM admissions WHERE id LIKE ?", g.room+".%")
		return err == nil && rows >= len(ids), ""
	}); ctx.Err() != nil {
		return err
	}
	return db.SelectContext(ctx, &f.Recorded, "SELECT id FROM admissions WHERE id LIKE ?", g.room+".%")
}

// offsets is where each partition of the admissions ends; a topic that is not there
// yet has none.
func (h *harness) offsets(ctx context.Context) (ends []int64, err error) {
	err = h.partitions(ctx, func(_ int, _, last int64, _ *kafka.Conn) error {
		ends = append(ends, last)
		return nil
	})
	return ends, err
}

// admissions reads a room's records out of Kafka, from these offsets on.
func (h *harness) admissions(ctx context.Context, room string, from []int64) (list []Admission, err error) {
	err = h.partitions(ctx, func(p int, first, last int64, conn *kafka.Conn) error {
		at := first
		if p < len(from) {
			at = max(at, from[p])
		}
		if at >= last {
			return nil
		}
		if _, err := conn.Seek(at, kafka.SeekAbsolute); err != nil {
			return err
		}
		// A batch for many records: a call for each would take minutes.
		for at < last {
			batch := conn.ReadBatch(1, 8<<20)
			for at < last {
				m, err := batch.ReadMessage()
				if err != nil {
					break
				}
				at = m.Offset + 1
				headers := map[string]string{}
				for _, x := range m.Headers {
					headers[x.Key] = string(x.Value)
				}
				a, err := events.DecodeAdmitted(headers, m.Value)
				if err != nil {
					return fmt.Errorf("a record of %s: %w", events.TopicAdmitted, err)
				}
				if string(a.Room) == room {
					list = append(list, Admission{ID: string(a.ID), Visitor: string(a.Visitor), Epoch: string(a.Epoch), Number: int64(a.Number), AtUS: a.AdmittedAtUS})
				}
			}
			if err := batch.Close(); err != nil {
				return fmt.Errorf("partition %d at offset %d of %d: %w", p, at, last, err)
			}
		}
		return nil
	})
	return list, err
}

func (h *harness) partitions(ctx context.Context, do func(p int, first, last int64, conn *kafka.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	parts, err := kafka.LookupPartitions(ctx, "tcp", h.kafka, events.TopicAdmitted)
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("partitions of %s: %w", events.TopicAdmitted, err)
	}
	for p := range len(parts) {
		err := func() error {
			conn, err := kafka.DialLeader(ctx, "tcp", h.kafka, events.TopicAdmitted, p)
			if err != nil {
				return err
			}
			defer conn.Close()
			deadline, _ := ctx.Deadline()
			if err := conn.SetDeadline(deadline); err != nil {
				return err
			}
			first, last, err := conn.ReadOffsets()
			if err != nil {
				return err
			}
			return do(p, first, last, conn)
		}()
		if err != nil {
			return fmt.Errorf("partition %d of %s: %w", p, events.TopicAdmitted, err)
		}
	}
	return nil
}
