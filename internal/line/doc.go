// Package line keeps the line of each room in Redis: it joins visitors, admits
// them in order of number at the room's rate, and answers where they stand.
//
// Every act that writes is one Lua script (lua/, one act per file), so that a
// caller who crashes or loses a reply leaves the line either before or after
// the act. Calls may be sent again: a join batch by its [room.Lane], a claim, a
// finish and a relayed by what they name; a repeated leave answers that the
// place is spent, and a repeated admit is simply the next round, since whoever
// the first one let in is in the outbox.
//
// The invariant, for 1 ≤ n ≤ seq: bit n of `gone` is 0 exactly when one visitor
// in `queue` has number n; bit 0 is 0 and no bit is set above seq. Positions are
// counted from it by package rank.
//
// Writing calls of a process carry a [room.Caller]. A line that knows less than its
// caller, or that runs under another replication id than before, is fenced: it asks
// its processes for their marks, gives no number meanwhile ([room.ErrRecovering]), and
// takes whoever shows a place that it lost back to its number. So numbers are never
// given twice, whatever Redis lost.
//
// Errors of the Redis client end here: out of reach is [room.ErrAway], a full
// memory [room.ErrMemory], a refusal one of room's sentinels. What is left is a
// [room.Fault].
//
// Nothing here starts a goroutine.
package line
