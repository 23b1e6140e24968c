// Package sqldb opens the shop's database and runs its transactions: MySQL or
// MariaDB for several bookers, SQLite for a shop on one machine with one booker
// process. It knows no table; the SQL that is the rule lives with the rule.
//
// It promises that a transaction runs at READ COMMITTED or stricter, that one
// which the database ended to break a deadlock or a wait is run again a bounded
// number of times, and that what comes back from a driver because the server is
// out of reach is an [ErrAway]. A database that vanished, froze, restarted or became read
// only is in use within 10 s of its return; a process that vanished in a transaction
// gives its locks back after seconds (session.go has the times). No error holds a
// password.
package sqldb
