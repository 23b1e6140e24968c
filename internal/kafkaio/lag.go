package kafkaio

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"

	"waitroom/internal/outage"
)

// lagEvery is how often the ends of the partitions are asked for: one request per
// broker. Often enough for an alert, too seldom for a load.
const lagEvery = 5 * time.Second

// newLag registers the gauge, or finds it: consumers of several groups in one
// process share it. Its series are the partitions that this process holds.
func newLag(reg prometheus.Registerer, subsystem string) *prometheus.GaugeVec {
	if reg == nil {
		return nil
	}
	lag := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "waitroom", Subsystem: subsystem, Name: "consumer_lag_records",
		Help: "Records of a partition that this process holds and has not dealt with yet; asked for every 5 s."}, []string{"topic", "partition"})
	err := reg.Register(lag)
	var before prometheus.AlreadyRegisteredError
	if errors.As(err, &before) {
		return before.ExistingCollector.(*prometheus.GaugeVec)
	}
	if err != nil {
		panic(err) // another metric of that name: the program can't have been tested
	}
	return lag
}

// held is one partition that this process reads, and how far it has got.
type held struct {
	topic     string
	partition int
	next      atomic.Int64 // the offset to deal with next; below 0: from the first that exists
	parked    atomic.Int64 // records before it that wait
}

// watchLag sets the gauge of each partition of now until ctx ends, then takes the
// series away: they may be another process's to tell about.
func watchLag(ctx context.Context, lag *prometheus.GaugeVec, log *zap.Logger, every time.Duration, client *kafka.Client, now func() []*held) {
	defer func() {
		for _, h := range now() {
			lag.DeleteLabelValues(h.topic, strconv.Itoa(h.partition))
		}
	}()
	// One failure is what a leader that moves costs; the next try is 5 s later.
	unknown := newOutage(log, "consumer lag", outage.Config{Hold: time.Second})
	for ctx.Err() == nil {
		unknown.Note(ctx, measure(ctx, lag, client, now())) // the gauges stay at what was last known
		if !sleep(ctx, every) {
			return
		}
	}
}

func measure(ctx context.Context, lag *prometheus.GaugeVec, client *kafka.Client, partitions []*held) error {
	if len(partitions) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
	defer cancel()
	ask := map[string][]kafka.OffsetRequest{}
	for _, h := range partitions {
		ask[h.topic] = append(ask[h.topic], kafka.FirstOffsetOf(h.partition), kafka.LastOffsetOf(h.partition))
	}
	reply, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: ask})
	if err != nil {
		return err
	}
	var failed error
	for _, h := range partitions {
		for _, p := range reply.Topics[h.topic] {
			switch {
			case p.Partition != h.partition:
			case p.Error != nil:
				failed = errors.Join(failed, fmt.Errorf("%s/%d: %w", h.topic, h.partition, p.Error))
			default:
				behind := max(0, p.LastOffset-max(h.next.Load(), p.FirstOffset)) + h.parked.Load()
				lag.WithLabelValues(h.topic, strconv.Itoa(h.partition)).Set(float64(behind))
			}
		}
	}
	return failed
}
