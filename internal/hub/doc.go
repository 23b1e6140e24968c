// Package sweep keeps this node's visitors: who is here, what each was told, and
// the two ticks that tell them more. It knows no transport: a visitor is a place
// and up to eight sinks.
//
// The position tick (1 s) takes one read of each room that has visitors here, one
// pass over the gone bitmap in order of number, and offers a frame to whoever
// moved. So the work of Redis does not grow with visitors, every position is
// exact at that read, and what is not taken now is superseded by the next tick.
//
// The turn tick (100 ms) reads the head and looks up, in one call, everyone here
// who is below it and was not told yet. It goes by level, not by edge: no message
// between nodes that could be lost, and somebody admitted before this node
// knew him is found too.
//
// Joins and returns are collected for a millisecond and go to the line in
// batches, each batch on a lane, so that a lost reply costs nobody a place and
// gives nobody two.
//
// Per room three goroutines run while the room exists: positions, turns and
// batches. They are started with the room's first visitor, stopped by the end of
// Run's context or the room's deletion, and Run waits for them. There is none per
// visitor.
//
// Locks: a crowd's mu before a session's mu; neither is held during a call to the
// line. A sink is called with its session's mu held, or its crowd's, so it must not
// block and must not call back.
//
// Who was refused looks on: a session without a place, on the list of those who do
// not wait, so that it hears the room and its beat like everybody else.
package hub
