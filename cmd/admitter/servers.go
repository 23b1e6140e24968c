package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/events"
	"waitroom/internal/hostport"
	"waitroom/internal/kafkaio"
	"waitroom/internal/outage"
	"waitroom/internal/room"
)

const (
	// kafkaWait is how long a start waits for its Kafka before it serves without: a
	// broker that is well answers in less, and the rooms shall not wait longer.
	kafkaWait = 2 * time.Second
	// kafkaTry bounds one try to find or make the topics; kafkaPause lies between two.
	kafkaTry   = 10 * time.Second
	kafkaPause = time.Second
)

type kafkaFlags struct {
	Brokers     []string `name:"kafka" help:"Kafka brokers to ask first, host:port, separated by commas." default:"127.0.0.1:9092" env:"WAITROOM_KAFKA"`
	Replication int      `help:"Replicas of the topics that this start makes." default:"1" env:"WAITROOM_REPLICATION"`
}

func (f *kafkaFlags) Check() error {
	errs := []error{hostport.Servers("--kafka", f.Brokers)}
	if f.Replication < 1 || f.Replication > 9 {
		errs = append(errs, fmt.Errorf("--replication %d: want 1 to 9", f.Replication))
	}
	return errors.Join(errs...)
}

// prepare returns when Kafka has answered and has the topics.
func (f *kafkaFlags) prepare(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := kafkaio.EnsureTopics(ctx, f.Brokers, f.Replication, topics...); err != nil {
		return err
	}
	return kafkaio.EnsureCompacted(ctx, f.Brokers, f.Replication, compacted...)
}

// topics are those an admitter writes and reads; compacted keep the last record of
// each key.
var (
	topics    = []string{events.TopicAdmitted, events.TopicBookings, events.DLQ(events.TopicBookings), events.DLQ(events.TopicAdmitted)}
	compacted = []string{events.TopicRooms}
)

// join returns when Kafka has the topics, or ctx ends. Missing is why it had not
// when the start looked. The rooms are served meanwhile: admissions wait in the
// line's outbox.
func (f *kafkaFlags) join(ctx context.Context, missing error, log *zap.Logger) {
	away := outage.New(outage.Config{Log: log,
		Down: "kafka is away: rooms are served, admissions wait in the outbox, finished visitors' slots come back at their passes' deadlines",
		Up:   "kafka has the topics"})
	for away.Note(ctx, missing); missing != nil; away.Note(ctx, missing) {
		if !wait(ctx, kafkaPause) {
			return
		}
		missing = f.prepare(ctx, kafkaTry)
	}
	for _, warning := range kafkaio.CheckTopics(ctx, f.Brokers, f.Replication, append(topics, compacted...)...) {
		log.Warn(warning)
	}
}

// group names the offsets of booking facts, which all admitters commit. It has no
// members: each of them reads every fact.
const group = "waitroom.admitter"

// facts reads the booking facts.
func (f *kafkaFlags) facts(client string, dead *kafkaio.Writer, reg prometheus.Registerer, log *zap.Logger) *kafkaio.Follower {
	return kafkaio.NewFollower(kafkaio.FollowerConfig{Brokers: f.Brokers, Group: group, Topic: events.TopicBookings, Dead: dead,
		ClientID: client, Log: log, Metrics: reg, Subsystem: "admitter"})
}

type actorFlag struct {
	Actor string `help:"Who does this, for the room's audit stream. Default: user and host." placeholder:"NAME" env:"WAITROOM_ACTOR"`
}

func (f *actorFlag) name() string {
	if f.Actor != "" {
		return f.Actor
	}
	user := os.Getenv("USER")
	if user == "" {
		user = fmt.Sprintf("uid %d", os.Getuid())
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return user[:min(len(user), 60)] + "@" + host[:min(len(host), 60)]
}

func (f *actorFlag) Check() error {
	if len(f.Actor) > room.MaxActor {
		return fmt.Errorf("--actor: want at most %d bytes", room.MaxActor)
	}
	return nil
}

// wait waits for d; false says that ctx ended before.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
