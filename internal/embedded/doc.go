// Package embedded runs stand-ins for the three servers inside this process:
// miniredis for Redis, kfake for Apache Kafka, a temporary file for SQL. They
// exist so that the demo and the plain `go test ./...` need nothing but Go.
//
// They are stand-ins, not proofs: no binary of production links this package,
// and what rests on a real server's behaviour (the memory, the speed, the
// append-only file, a broker's restart) is tested on the real one.
//
// It does not import testing, so the demo stays a program. Each function
// returns a stop, which may be called more than once and returns when the
// server's goroutines have been told to end and its files are gone.
package embedded
