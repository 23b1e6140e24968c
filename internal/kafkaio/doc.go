// Package kafkaio keeps kafka-go behind small things: Ping, EnsureTopics, a
// Writer, and two ways to read: a Consumer shares a topic's partitions with the
// other members of its group, a Follower reads all of them by itself. Nothing
// outside of it knows the client, and what crosses is events.Record.
//
// It promises at least once in both directions. A record is published when
// every in-sync replica has acknowledged it; an offset is committed after its
// record was handled, by a Consumer only in the generation of the group that
// holds the partition. Repeats happen, under the same key and id, and are
// absorbed by those who receive them.
package kafkaio
