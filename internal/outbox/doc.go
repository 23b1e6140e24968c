// Package outbox carries the shop's facts from its database to Kafka. A fact is
// written in the transaction of what it tells, so it is never lost and never
// invented; it is deleted once every in-sync replica has it.
package outbox
