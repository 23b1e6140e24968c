package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"waitroom/internal/booking"
	"waitroom/internal/embedded"
	"waitroom/internal/kafkaio"
	"waitroom/internal/line"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
)

const (
	startWait = 15 * time.Second
	perRow    = 40
	actor     = "demo"
)

// Times of the demo's room: short enough that somebody who watches sees claims
// missed and holds expire.
const (
	claimTime = 30 * time.Second
	passTime  = 3 * time.Minute
)

// servers are Redis, Kafka and SQL: stand-ins in this process, or real ones.
type servers struct {
	rdb     redis.UniversalClient
	lines   *line.Lines
	brokers []string
	db      *sqldb.DB

	stops []func() // in order of opening; close goes backwards
}

func (s *servers) close() {
	for i := len(s.stops) - 1; i >= 0; i-- {
		s.stops[i]()
	}
}

// open starts or reaches each server, and names the one that failed.
func (c *cli) open(ctx context.Context, log *zap.Logger) (s *servers, err error) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	s = &servers{brokers: c.Kafka}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := s.openRedis(ctx, c.Redis, log); err != nil {
		return s, err
	}
	if len(s.brokers) == 0 {
		address, stop, err := embedded.Kafka()
		if err != nil {
			return s, err
		}
		s.stops = append(s.stops, stop)
		s.brokers = []string{address}
	}
	if err := kafkaio.Ping(ctx, s.brokers); err != nil {
		return s, fmt.Errorf("--kafka: %w", err)
	}
	if err := kafkaio.EnsureTopics(ctx, s.brokers, 1, booking.Topics...); err != nil {
		return s, fmt.Errorf("--kafka: %w", err)
	}
	if err := kafkaio.EnsureCompacted(ctx, s.brokers, 1, booking.Compacted...); err != nil {
		return s, fmt.Errorf("--kafka: %w", err)
	}
	dsn := c.DB
	if dsn == "" {
		var stop func()
		if dsn, stop, err = embedded.SQLitePath(); err != nil {
			return s, err
		}
		s.stops = append(s.stops, stop)
	}
	if s.db, err = sqldb.Open(ctx, dsn); err != nil {
		return s, fmt.Errorf("--db: %w", err)
	}
	s.stops = append(s.stops, func() { _ = s.db.Close() }) // at the end, with nothing under way
	return s, nil
}

func (s *servers) openRedis(ctx context.Context, url string, log *zap.Logger) error {
	given := url != ""
	if !given {
		_, address, stop, err := embedded.Redis()
		if err != nil {
			return err
		}
		s.stops = append(s.stops, stop)
		url = "redis://" + address
	}
	rdb, err := line.Server{URL: url}.Open(ctx)
	if err != nil {
		return err
	}
	s.rdb = rdb
	s.stops = append(s.stops, func() { _ = rdb.Close() })
	if given { // the stand-in has no settings to warn of
		warnings, err := line.Check(ctx, rdb, line.RoleAll)
		for _, warning := range warnings {
			log.Warn(warning)
		}
		if err != nil {
			return err
		}
	}
	s.lines = line.New(rdb)
	return nil
}

// ticket is what each seat of the demo costs. No money is taken.
var ticket = seat.Price{Amount: 4500, Currency: "EUR"}

// prepare makes the room and its seats. On real servers both may exist: then the
// room goes on with the rate asked for, which the returned note says.
func (c *cli) prepare(ctx context.Context, s *servers) (note string, err error) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	name := room.Name(c.Room)
	store, err := booking.NewStore(ctx, s.db, booking.Rules{})
	if err != nil {
		return "", fmt.Errorf("--db: %w", err)
	}
	seats, err := seat.Generate(c.Seats, perRow)
	if err != nil {
		return "", err
	}
	if _, _, err := store.AddPricedSeats(ctx, name, seats, ticket); err != nil {
		return "", fmt.Errorf("--db: %w", err)
	}
	rate, err := room.ParseRate(c.Rate)
	if err != nil {
		return "", err
	}
	conf := room.DefaultConf()
	conf.Epoch, conf.State = room.NewEpoch(), room.Open
	conf.Rate, conf.Burst = rate, rate.MinBurst()
	conf.Claim, conf.Pass = claimTime, passTime
	// Bots stay some 15 s inside: enough slots that the rate decides, few enough
	// that a shop that stands still is seen.
	conf.MaxActive = max(20, 40*int64(rate)/1000)
	err = s.lines.CreateWithEvent(ctx, name, conf, gala(time.Now()), actor)
	if errors.Is(err, room.ErrExists) {
		_, err = s.lines.Set(ctx, name, room.Change{Actor: actor, Rate: &rate, State: &conf.State})
		note = "; the room exists already and goes on as it is (--room makes another)"
	}
	if err != nil {
		return "", fmt.Errorf("--redis: %w", err)
	}
	return note, nil
}

// gala is what the demo's room is for: an evening three weeks ahead.
func gala(now time.Time) room.Event {
	evening := time.Date(now.Year(), now.Month(), now.Day()+21, 19, 30, 0, 0, now.Location())
	return room.Event{Title: "The Autumn Gala", Venue: "Grand Hall", StartsAt: evening}
}
