package line

import (
	"strconv"

	"waitroom/internal/room"
)

// Every key the line has in Redis, each by a function with its name. The first
// part is the version of the layout: processes of two versions that don't agree
// on it don't see each other's rooms. The braces are the hash tag: all keys of
// a room lie in one slot of a Redis Cluster.

// roomsKey is the registry, a set of names.
func roomsKey() string { return "wr1:rooms" }

// closingKey is a sorted set of closed rooms by the time in ms at which they end, for
// Expire; what ended leaves it.
func closingKey() string { return "wr1:closing" }

// signsKey is a hash: process → its last sign of life, and at:process → when it
// was written, µs; room.MaxSigns processes at most. It expires room.SignKept
// after the last of them.
func signsKey() string { return "wr1:signs" }

// busyKey is a stream: rooms in which something happened after a while in which
// nothing did; maxBusy entries.
func busyKey() string { return "wr1:busy" }

func key(name room.Name, part string) string { return "wr1:{" + string(name) + "}:" + part }

// confKey is a hash: the configuration, and what came from flags.
func confKey(name room.Name) string { return key(name, "conf") }

// actsKey is a stream: who changed what, when; room.MaxActs entries.
func actsKey(name room.Name) string { return key(name, "acts") }

// seqKey is a string: the last number given.
func seqKey(name room.Name) string { return key(name, "seq") }

// queueKey is a sorted set: visitor → number, the line itself.
func queueKey(name room.Name) string { return key(name, "queue") }

// goneKey is a bitmap: bit n is set once number n left the line; at most
// room.MaxNumber bits, 128 MiB.
func goneKey(name room.Name) string { return key(name, "gone") }

// unclaimedKey is a sorted set: visitor → claim deadline in ms.
func unclaimedKey(name room.Name) string { return key(name, "unclaimed") }

// activeKey is a sorted set: visitor → pass deadline in ms.
func activeKey(name room.Name) string { return key(name, "active") }

// outboxKey is a stream: admissions not yet acknowledged by Kafka, at most
// room.OutboxBound of the rate; room.MaxEntry in an entry.
func outboxKey(name room.Name) string { return key(name, "outbox") }

// bucketKey is a hash: credit in 1e-9 visitors, at in µs, rate; depth, visitors in the
// outbox; stepped, while deadlines of a clock that went back are put right.
func bucketKey(name room.Name) string { return key(name, "bucket") }

// statsKey is a hash of counters.
func statsKey(name room.Name) string { return key(name, "stats") }

// eventKey is a hash: what the sale is for, as visitors read it, at most some 34 KB
// with its logo. It is there once something of it was set.
func eventKey(name room.Name) string { return key(name, "event") }

// backKey is a bitmap: bit n is set while number n was given and the line does not
// know to whom: it lost that, or took it back from whom it could not ask. Whoever
// shows the place comes back to the number. Every bit of it is one of gone.
func backKey(name room.Name) string { return key(name, "back") }

// awayKey is a bitmap: bit n is set when number n left the line because nobody was
// seen there. Every bit of it is one of gone.
func awayKey(name room.Name) string { return key(name, "away") }

// spansKey is a hash: which span of time each of the bitmaps seen:0 to seen:8 is of.
func spansKey(name room.Name) string { return key(name, "spans") }

// seenKey is a bitmap: bit n is set when some node saw the visitor with number n in a
// span. rings of them take turns.
func seenKey(name room.Name, ring int) string { return key(name, "seen:"+strconv.Itoa(ring)) }

// rings is one more than the spans of a grace, since the one now is not over.
const rings = 9

// scratchKey is a bitmap that lives within one script.
func scratchKey(name room.Name) string { return key(name, "scratch") }

// heardKey is a bitmap: bit n is set once somebody came back with number n, so it was
// told. No batch that nobody is known to have heard of takes it back.
func heardKey(name room.Name) string { return key(name, "heard") }

// lifeKey is a hash: what the line lost and who can tell; its fields stand in
// lua/prelude.lua. A field or two for each process that wrote within half a minute of
// another, room.MaxSigns of them.
func lifeKey(name room.Name) string { return key(name, "life") }

// lanesKey is a hash: lane → its last join batch and the batch's numbers. Lanes that
// joined nobody for laneLife leave it when somebody reads it, or when many more come.
func lanesKey(name room.Name) string { return key(name, "lanes") }

// deletedKey is a hash: epoch, at in µs and actor of a line that was ended for good. It
// lives for tombstoneLife, or until a room of that name is made anew.
func deletedKey(name room.Name) string { return key(name, "deleted") }

// keysOf are all keys of a line, as every script of it takes them: the names for them
// stand in lua/prelude.lua, in this order.
func keysOf(name room.Name) []string {
	return []string{confKey(name), seqKey(name), queueKey(name), goneKey(name), backKey(name), awayKey(name),
		unclaimedKey(name), activeKey(name), outboxKey(name), bucketKey(name), statsKey(name),
		lifeKey(name), lanesKey(name), actsKey(name), eventKey(name)}
}

// presenceKeysOf are the keys of the scripts that say or ask who is there, as
// lua/presence.lua has them.
func presenceKeysOf(name room.Name) []string {
	keys := append(keysOf(name), spansKey(name), scratchKey(name))
	for i := range rings {
		keys = append(keys, seenKey(name, i))
	}
	return append(keys, heardKey(name))
}

// keysAndStone are all that a room has, the tombstone last: for what begins and ends a line.
func keysAndStone(name room.Name) []string { return append(presenceKeysOf(name), deletedKey(name)) }
