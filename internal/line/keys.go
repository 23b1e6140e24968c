package line

import "waitroom/internal/room"

// Every key the line has in Redis, each by a function with its name. The first
// part is the version of the layout: processes of two versions that don't agree
// on it don't see each other's rooms. The braces are the hash tag: all keys of
// a room lie in one slot of a Redis Cluster.

// roomsKey is the registry, a set of names.
func roomsKey() string { return "wr1:rooms" }

// closingKey is a sorted set of closed rooms by the time in ms at which their
// keys expire; what expired leaves the registry.
func closingKey() string { return "wr1:closing" }

// signsKey is a hash: process → its last sign of life, and at:process → when it
// was written, µs; room.MaxSigns processes at most. It expires room.SignKept
// after the last of them.
func signsKey() string { return "wr1:signs" }

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
// room.MaxOutbox.
func outboxKey(name room.Name) string { return key(name, "outbox") }

// bucketKey is a hash: credit in 1e-9 visitors, at in µs, rate.
func bucketKey(name room.Name) string { return key(name, "bucket") }

// statsKey is a hash of counters.
func statsKey(name room.Name) string { return key(name, "stats") }

// eventKey is a hash: what the sale is for, as visitors read it, at most some 34 KB
// with its logo. It is there once something of it was set.
func eventKey(name room.Name) string { return key(name, "event") }

// laneKey is a string: the last join batch of a lane and its numbers. It
// expires laneLife after that batch.
func laneKey(name room.Name, lane string) string { return key(name, "lane:"+lane) }

// others are the keys of a room beside conf and the lanes. With them a room is
// created, expires and is deleted. The event is the last: alone of them it does not
// stand in the way of a new line.
func others(name room.Name) []string {
	return []string{seqKey(name), bucketKey(name), actsKey(name), queueKey(name), goneKey(name),
		unclaimedKey(name), activeKey(name), outboxKey(name), statsKey(name), eventKey(name)}
}
