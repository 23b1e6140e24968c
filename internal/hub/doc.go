// Package hub keeps this node's sessions: who is here, what each was told, and
// the two ticks that tell them more. It knows no transport. A session is a place
// on this node; connections attach to it and detach, up to eight at a time, and
// each is a sink: Send takes what must arrive, TrySend what the next one
// supersedes.
//
// The position tick (1 s) takes one read of each room that has sessions here, one
// pass over the gone bitmap in order of number, and tries to send a frame to
// whoever moved. So the work of Redis does not grow with visitors, every position
// is exact at that read, and what is not taken now is superseded by the next tick.
//
// The turn tick (100 ms) reads the head and looks up, in one call, everyone here
// who is below it and was not told yet. It goes by level, not by edge: no message
// between nodes that could be lost, and somebody admitted before this node
// knew him is found too.
//
// Both rest where nothing happens. Once a second the directory brings the pulse of
// each room, which changes with everything in it: while it is the same, the last read
// is as good as one of now, and positions are told out of it. Turns are looked for
// until 5 s after the last one, and again when the room is marked by who admits from
// it, when a read finds somebody gone, or when a session's own moment comes. A mark
// that is lost costs a second.
//
// Joins and returns are collected for a millisecond and go to the line in
// batches, each batch on a lane, so that a lost reply costs nobody a place and
// gives nobody two.
//
// Whom the line does not know, because it lost the write that gave the number, stays
// and is told nothing. The node asks for those once a second by Rejoin, in batches,
// and so brings them back to their number.
//
// Each read shows the life of the line. In another one than before whoever was told of a turn
// is looked up, and the line is told its event once more. A room that the registry alone has
// lost is listed again by what this node remembers of it.
//
// Twice in each span, an eighth of a room's grace, a node says whom it sees in the room:
// the bitmap of the numbers that wait here, which is how the line knows who is away. It
// says so of nobody too, as long as the room is listed, since a span without a word tells
// nothing. A node that the line has not heard for half of the grace sends its visitors to
// other nodes, once an outage: nobody can see them here.
//
// # Where what is kept
//
// A Hub has a roomHub for each room with somebody here, and that has five parts,
// each with fields of its own: the roster (which sessions, in which lists, what is
// due when), the view (what this node knows of the line: epoch, high-water mark,
// conf, what is shown), the joins, the position tick and the turn tick. How a
// session moves is one pure function, transition.
//
// # Goroutines
//
// Two run as long as Run: its own, which starts what is due ten times a second, and
// the one that follows marks. A tick runs in a goroutine of its own, one of
// a kind per room at a time, so a room has none between its ticks. Joins and returns
// are taken to the line by one goroutine each, which ends when none is left. Who is here
// is said by 64 at most, for all rooms; they end when no room is due. A room whose
// visitors are sent away has one until the last is sent. All end
// with Run's context or the room's deletion, and Run waits for them. There is none per
// session.
//
// # Locks
//
// None is held during a call to the line. In this order, each may be taken while
// those before it are held:
//
//	Hub.mu            the rooms of this node
//	roster.mu         the lists of a room
//	view.mu           what is known of its line; nothing is taken under it
//	Session.mu        one session; nothing is taken under it
//
// view.reading is no lock of fields: whoever holds it reads the line, one after
// another, and waits for it no longer than a read may take.
//
// joins.mu, busy.mu, presents.mu and Hub.loadMu are taken alone. A sink is called with its session's mu
// held, or its roster's, so it must not block and must not call back.
//
// One hand-over breaks the nesting: attach finds or makes the session under
// roster.mu, takes Session.mu, and lets roster.mu go before it sends. So nobody
// can end the session between, and a slow write holds up one session, not the
// room. Whoever changes a standing lets Session.mu go before he tells the roster
// (roster.moved): between the two the lists lag behind the standing, which is why
// ticks ask the standing, not the list.
//
// That a line was made anew is first known to the view, then to the roster
// (dismiss). attach compares with the view under roster.mu, so a session of the
// older line is refused, or is in the roster when dismiss comes to end it.
//
// A session without a place belongs to a connection that was refused: it is on the
// list of those who do not wait, and hears the room and its heartbeat like
// everybody else.
package hub
