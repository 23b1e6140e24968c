// Package seatmap shows the seats of rooms to crowds: the plan of a room, which
// hardly ever changes, the state of every seat as one character in the order of
// the plan, and the changes as they come.
//
// It promises that a map is right within a second, whichever booker changed a
// seat; that a crowd costs the database as much as one looker: one read of the log
// four times a second for all rooms, and each room's seats once in ten seconds; and
// that who looks at a map never makes a buyer wait: it has two connections at most,
// and writes to visitors with nothing held.
//
// What a transaction changes is in the log (Log), written by it. The reader of a
// process applies the log to the rooms in memory. A room is read whole when it is
// first looked at, when the log names a seat that it does not know, and from time to
// time, since an older booker writes no log. A room at which nobody looks is
// forgotten.
package seatmap
