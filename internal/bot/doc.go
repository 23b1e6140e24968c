// Package bot is a visitor as a program. It speaks the real protocol over real
// sockets, to any node of a fleet: it joins, keeps its place over lost
// connections, drains and killed nodes, claims its turn, holds and confirms
// seats, or gives up on the way, as its Plan says. What it heard is its Outcome.
//
// It promises to behave as the pages do (full jitter, the place kept until the
// pass is in hand, one hold at a time) and to come to an end: every retry but
// the reconnecting of somebody who waits has a bound, and that one ends with
// the context.
//
// The demo's crowd, the tests of the built binaries and the bench are made of it.
package bot
