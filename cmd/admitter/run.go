package main

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

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

// Run opens Redis, listens, and runs until ctx ends or a part fails. A Kafka that
// is away is joined later.
func (r *runCmd) Run(ctx context.Context, env *process.Env) error {
	ops, err := process.Listen("ops-listen", r.OpsListen)
	if err != nil {
		return err
	}
	defer ops.Close()
	rdb, err := r.Redis.Open(ctx)
	if err != nil {
		return coded(err)
	}
	defer rdb.Close()
	warnings, err := line.Check(ctx, rdb, line.RoleAdmitter)
	for _, warning := range warnings {
		env.Log.Error(warning)
	}
	if err != nil {
		return err
	}
	missing := r.Kafka.prepare(ctx, kafkaWait)
	if missing != nil && !errors.Is(missing, kafkaio.ErrAway) {
		return coded(missing) // refused for good, such as more replicas than brokers
	}
	writer := kafkaio.NewWriter(kafkaio.WriterConfig{Brokers: r.Kafka.Brokers, ClientID: env.Name})
	defer writer.Close()
	lines := line.New(rdb)
	// The service signs its calls as the beat signs its life, and the beat says what the
	// service does.
	var service *admission.Service
	beat := signs.NewBeat(lines, room.RoleAdmitter, process.ReadBuild().Version, func() []room.RoomSign { return service.Signs() }, env.Log)
	r.Admission.Process = beat.ID()
	service, err = admission.New(r.Admission, r.Actor.name(), lines, writer, env.Log, env.Metrics)
	if err != nil {
		return err
	}
	facts := r.Kafka.facts(env.Name, writer, env.Metrics, env.Log)

	// The drain: not ready, then rounds, relay and facts, then the ops port, so
	// that the last numbers can be read.
	var ready process.Ready
	serving, stopOps := context.WithCancel(context.WithoutCancel(ctx))
	defer stopOps()
	parts, ctx := errgroup.WithContext(ctx)
	stopReady := context.AfterFunc(ctx, func() { ready.Set(false) })
	defer stopReady()
	parts.Go(func() error {
		defer stopOps()
		loops, ctx := errgroup.WithContext(ctx)
		loops.Go(func() error { return service.Run(ctx) })
		loops.Go(func() error { return facts.Run(ctx, service.Facts) })
		loops.Go(func() error { r.Kafka.join(ctx, missing, env.Log); return nil })
		return loops.Wait()
	})
	parts.Go(func() error { return beat.Run(serving) }) // the last sign comes after the last round
	parts.Go(func() error { return process.Serve(serving, ops, process.Ops(env.Metrics, &ready), time.Second) })
	ready.Set(true)
	env.Log.Info("admitter runs", zap.Stringer("ops", ops.Addr()), zap.String("sign", beat.ID()))

	ended := make(chan error, 1)
	go func() { ended <- parts.Wait() }() // ends with the parts, or with the process at stopLimit
	<-ctx.Done()
	select {
	case err := <-ended:
		env.Log.Info("admitter stopped")
		return err
	case <-time.After(stopLimit):
		return errors.New("not everything ended within " + stopLimit.String())
	}
}
