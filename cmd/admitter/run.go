package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"waitroom/internal/admission"
	"waitroom/internal/kafkaio"
	"waitroom/internal/line"
	"waitroom/internal/process"
	"waitroom/internal/room"
	"waitroom/internal/signs"
)

// stopLimit bounds a stop: the relay's 3 s, beside which the facts end in 2, and
// the last sign of life, 1 s to a Redis that hangs. Past it the process ends as it
// is, which loses nothing: the other replicas, or the next start, find the rest.
const stopLimit = 5 * time.Second

type runCmd struct {
	Redis     line.Server      `embed:""`
	Kafka     kafkaFlags       `embed:""`
	Admission admission.Config `embed:""`
	Actor     actorFlag        `embed:""`
	OpsListen string           `help:"Address of /metrics, /healthz, /readyz and /debug/pprof; not for the public." default:"127.0.0.1:9181" env:"WAITROOM_OPS_LISTEN"`
}

// Check reports a wrong address to listen on; the groups of flags check their own.
func (r *runCmd) Check() error { return process.CheckListen("ops-listen", r.OpsListen) }

// Run serves rooms until ctx ends, in the shape that process.Service has.
func (r *runCmd) Run(ctx context.Context, env *process.Env) error {
	return process.Service{OpsListen: r.OpsListen, Stop: stopLimit,
		Open: func(ctx context.Context, start *process.Start) (process.Parts, error) {
			rdb, err := r.openRedis(ctx, env, start)
			if err != nil {
				return process.Parts{}, err
			}
			missing, err := r.lookForKafka(ctx, start)
			if err != nil {
				return process.Parts{}, err
			}
			return r.parts(env, start, line.New(rdb), missing)
		}}.Run(ctx, env)
}

// openRedis returns a client of a Redis that has answered and can hold a line, and warns
// of what may lose it.
func (r *runCmd) openRedis(ctx context.Context, env *process.Env, start *process.Start) (rdb redis.UniversalClient, err error) {
	err = start.Await("redis at "+r.Redis.String(), func() error {
		if rdb, err = r.Redis.Open(ctx); err != nil {
			return fmt.Errorf("--redis: %w", coded(err))
		}
		start.Close("redis", rdb.Close)
		warnings, err := line.Check(ctx, rdb, line.RoleAdmitter)
		for _, warning := range warnings {
			env.Log.Warn(warning)
		}
		return err
	})
	return rdb, err
}

// lookForKafka returns why Kafka is missing, where it is: it is joined later. What it
// refuses for good, such as more replicas than brokers, ends the start.
func (r *runCmd) lookForKafka(ctx context.Context, start *process.Start) (missing, err error) {
	err = start.Await(fmt.Sprintf("kafka at %s, for %s", strings.Join(r.Kafka.Brokers, ","), kafkaWait), func() error {
		missing = r.Kafka.prepare(ctx, kafkaWait)
		if missing != nil && !errors.Is(missing, kafkaio.ErrAway) {
			return fmt.Errorf("--kafka: %w", coded(missing))
		}
		return ctx.Err()
	})
	return missing, err
}

func (r *runCmd) parts(env *process.Env, start *process.Start, lines *line.Lines, missing error) (process.Parts, error) {
	writer := kafkaio.NewWriter(kafkaio.WriterConfig{Brokers: r.Kafka.Brokers, ClientID: env.Name})
	start.Close("kafka", writer.Close)
	// The service signs its calls as the beat signs its life, and the beat says what the
	// service does.
	var service *admission.Service
	beat := signs.NewBeat(lines, room.RoleAdmitter, process.ReadBuild().Version, func() []room.RoomSign { return service.Signs() }, env.Log)
	r.Admission.Process = beat.ID()
	service, err := admission.New(r.Admission, r.Actor.name(), lines, writer, env.Log, env.Metrics)
	if err != nil {
		return process.Parts{}, err
	}
	facts := r.Kafka.facts(env.Name, writer, env.Metrics, env.Log)
	env.Log.Info("signs that it lives", zap.String("sign", beat.ID())) // as status names it
	return process.Parts{
		Loops: []process.Part{
			{Name: "rounds and relays", Run: service.Run},
			{Name: "booking facts", Run: func(ctx context.Context) error { return facts.Run(ctx, service.Facts) }},
			{Name: "topics", Run: func(ctx context.Context) error { r.Kafka.join(ctx, missing, env.Log); return nil }},
		},
		Last: []process.Part{{Name: "sign of life", Run: beat.Run}}, // it says that the last round was
	}, nil
}
