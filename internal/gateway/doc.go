// Package gateway is the public edge of waitroom: HTTP, WebSocket, origins,
// bounds and drain. It speaks subprotocol waitroom.v1 of wire to visitors and
// hands their connections to sweep as sinks.
//
// A connection costs one goroutine, which reads. Nothing else waits for it: what
// is sent to it is written at once or not at all. Under the WebSocket library
// lies a conn of ours (conn.go) which writes without waiting, keeps the tail of a
// torn frame, and says "busy" while it has one. One janitor looks at the busy
// ones a few times a second: it writes their tails on, and closes who has not
// read for stuckAfter.
//
// TLS ends in front of this: a TLS record can not be torn.
package gateway
