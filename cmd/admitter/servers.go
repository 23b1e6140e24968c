package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/events"
	"waitroom/internal/kafkaio"
	"waitroom/internal/room"
)

// startWait is how long a start waits for a Kafka that does not answer, as
// line.Server.Open does for Redis.
const startWait = 10 * time.Second

type kafkaFlags struct {
	Brokers     []string `name:"kafka" help:"Kafka brokers to ask first, host:port, separated by commas." default:"127.0.0.1:9092" env:"WAITROOM_KAFKA"`
	Replication int      `help:"Replicas of the topics that this start makes." default:"1" env:"WAITROOM_REPLICATION"`
}

func (f *kafkaFlags) Check() error {
	var errs []error
	for _, broker := range f.Brokers {
		if host, port, err := net.SplitHostPort(broker); err != nil || host == "" || port == "" {
			errs = append(errs, fmt.Errorf("--kafka %q: want host:port", broker))
		}
	}
	if len(f.Brokers) == 0 {
		errs = append(errs, errors.New("--kafka: want at least one host:port"))
	}
	if f.Replication < 1 || f.Replication > 9 {
		errs = append(errs, fmt.Errorf("--replication %d: want 1 to 9", f.Replication))
	}
	return errors.Join(errs...)
}

// prepare returns when Kafka has answered and has the topics.
func (f *kafkaFlags) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	if err := kafkaio.Ping(ctx, f.Brokers); err != nil {
		return err
	}
	if err := kafkaio.EnsureTopics(ctx, f.Brokers, f.Replication,
		events.TopicAdmitted, events.TopicBookings, events.DLQ(events.TopicBookings)); err != nil {
		return err
	}
	return kafkaio.EnsureCompacted(ctx, f.Brokers, f.Replication, events.TopicRooms)
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
