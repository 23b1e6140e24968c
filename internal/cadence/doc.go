// Package cadence decides who hears a position at which tick. Writing frames is
// most of a node's work, and somebody with 30,000 ahead learns nothing from a new
// number each second; so near visitors hear every second, far ones when it matters.
//
// It never decides what is said: a number that is sent is exact at its own tick.
// And it never makes a silence longer than the one that the connection was told
// (`beat_ms`): a longer beat is told first, with a word that was due anyway, and
// the silence of that one connection grows after it.
//
// Two parts, both without clock, lock or allocation. A Controller, one per node,
// turns the work of the last second into a Plan; Next is called by one goroutine.
// A Rule, made of a Plan for one sweep of one room, says of each visitor whether
// a word is due; it is a value and may be used by all senders at once.
package cadence
