// Package limit keeps one address from taking a process away from everybody else,
// and lets the many through who share one: a school, an office, a carrier's NAT.
//
// Source says whose address a request comes from; Limiter counts by it: what is
// open at once, what is opened per second, and what joins per second. Both rates
// are token buckets. Whoever comes with a verified place is not asked for an
// address at all: a bucket of that visitor keeps the place from being a ticket for
// a flood.
//
// The counts are those of one process; a fleet of N lets an address have N times
// as much. Addresses live in memory only, until nothing more is known of them than
// of a new one, and go into no log.
//
// Locks: each of the two tables has one mutex, nobody holds both, and nothing is
// called while one is held. One is enough: BenchmarkJoins prints what a join costs.
// No goroutine: what is over is forgotten by whoever comes next.
package limit
