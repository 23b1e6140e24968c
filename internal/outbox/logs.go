package outbox

import (
	"go.uber.org/zap"

	"waitroom/internal/outage"
)

// logs are of one question each, or a question that goes well would end another's outage.
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
	return logs{
		look: of("the database does not say who carries the shop's facts, or how many wait; trying again",
			"the database says again who carries the shop's facts, and how many wait"),
		step: of("facts of the shop cannot be read from the database or deleted there; trying again",
			"facts of the shop are read again, or another booker carries them"),
		tries: of("facts of the shop that wait for a partition cannot be read from the database or deleted there; trying again",
			"facts of the shop that wait for a partition are read again, or another booker carries them"),
		kafka: of("facts of the shop cannot be published: they wait in the database, those of other partitions go on; trying again",
			"facts of the shop are published again, or another booker carries them"),
		oldSQL: of("facts of an older booker cannot be read from the database or deleted there; trying again",
			"facts of an older booker are read again, or another booker carries them"),
		oldKafka: of("facts of an older booker cannot be published: they wait in the database; trying again",
			"facts of an older booker are published again, or another booker carries them"),
	}
}
