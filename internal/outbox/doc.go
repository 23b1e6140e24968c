// Package outbox carries the shop's facts from its database to Kafka. A fact is
// written in the transaction of what it tells, so it is never lost and never
// invented; it is deleted once every in-sync replica has it.
//
// Facts of one key leave in the order in which they were written, apart from
// repeats, which the reader absorbs by their id: who writes a key's next fact holds a
// lock from before the first one's id to its commit, so a look that sees the second
// sees the first too, with a lower id. So each look reads the table from its
// beginning, in one statement.
//
// One booker at a time carries, by a lease that saves work and that nothing else
// depends on: two that carry publish the same facts twice, in the same order.
//
// A partition of Kafka that takes nothing is stuck: its facts are put aside, into a lane
// of the table that the looks do not read, and tried apart. So it holds back its own keys
// and no others, and costs neither memory nor a longer look. What waits in a lane, put
// there by whomever, holds back all that belongs behind it: after each look, and not
// before it, the lanes are asked for that have rows; each try asks too. A row that was put
// aside meanwhile is one that the look has, or its lane is found. As a topic grows, rows go
// from lanes of fewer partitions to those of more and never back, so that the lanes alone
// say which facts of a key come first, to carriers that believe in different numbers too.
package outbox
