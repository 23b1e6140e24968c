// Package admission lets visitors through: rounds over every room, the relay
// that brings each admission from the line's outbox to Kafka, and the booking
// facts that give slots back.
//
// It is leaderless. Any number of replicas serve the same rooms at once: the
// line decides in one act how many a round may admit, and hands each outbox
// entry to one reader. What a replica leaves behind when it is killed, the
// others find: credit in the line, entries in the outbox, facts at the group's
// committed offset.
//
// It knows no Redis and no Kafka client: the small interfaces beside their
// users say what it needs, so that it runs in synctest and under injected
// crashes.
package admission
