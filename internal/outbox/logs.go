package outbox

import (
	"go.uber.org/zap"

	"waitroom/internal/outage"
)

// logs are what is asked, and how it goes.
type logs struct {
	look     *outage.Log // who carries, which lanes wait, how much there is
	step     *outage.Log // the facts that wait for nothing
	tries    *outage.Log // those that wait for a partition: well when no lane's last try met trouble
	kafka    *outage.Log // well when no partition is stuck
	oldSQL   *outage.Log // the table of an older booker
	oldKafka *outage.Log
}

func newLogs(log *zap.Logger) logs {
	of := func(down, up string) *outage.Log {
		return outage.New(outage.Config{Log: log, Down: down, Up: up})
	}
	sql := of("facts of the shop cannot be read from the database or deleted there; trying again",
		"facts of the shop are read again")
	kafka := of("facts of the shop cannot be published: they wait in the database, those of other partitions go on; trying again",
		"facts of the shop are published again")
	return logs{look: sql, step: sql, tries: sql, kafka: kafka, oldSQL: sql, oldKafka: kafka}
}
