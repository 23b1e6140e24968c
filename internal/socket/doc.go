// Package socket is a WebSocket connection as a server sees it: whole text
// messages come in, text goes out, and it ends for one reason. It does not know
// what a message means.
//
// # What it promises
//
// A write never waits. What the kernel does not take of a frame is kept and goes
// on before anything else; a connection in that state is busy, drops what may be
// superseded (TrySend), and ends when it stays so. Whatever a peer sends is paid
// out of a budget, and what it has begun it must finish in time, so that a
// hostile connection costs no more than a few honest ones.
//
// A silent connection has no goroutine of its own where the system can wait for
// many descriptors at once (internal/epoll), and no buffer, no timer and no
// library object anywhere: it is one Conn and what its handler keeps.
//
// # Goroutines
//
// A Conn has at most one worker, which reads, tells its Handler and then ends:
// working says that there is one. It is started by whoever finds something to
// do: the waiter (bytes have come), the janitor (time is up), or a call that
// broke the connection. The janitor is Server.Run. Server.Close waits for the
// workers and the waiter.
//
// # Locks
//
// Conn.mu guards the descriptor: each use of it and its close happen under mu,
// because the system gives a closed descriptor's number to the next visitor.
// Under Conn.mu the server's, the wheel's and the waiter's locks may be taken,
// never the other way round, and a Handler is never called under any of them.
//
// TLS ends in front of this: a TLS record can not be torn.
package socket
