// Package booking is the shop behind the line: seats that are held and booked by
// visitors with a pass, on one SQL database that several bookers may share.
//
// It promises that a seat is booked at most once, ever; that a hold resolves at
// most once, into confirmed, released or expired; that money is never captured
// for a seat not booked; and that a fact for Kafka is written in the same
// transaction as what it tells, so that it is never lost and never invented.
//
// What visitors ask is gathered (gather.go): acts that wait while a transaction runs are
// decided together in the next one, in order of arrival. A transaction locks the rows
// that its acts need (table.go), decides each of them by the rule (purchase.go), which
// knows no SQL, and writes what changed. Every statement that writes says what it expects
// to find, so a rule that is wrong changes nothing.
//
// All transactions lock in one order: admissions by id, free seats by name, the counter of
// the room. A batch takes only rows that nobody has locked; an act that needs another one
// is run by itself and waits. So one that loses, or in whose way a stranger stands, costs
// nobody else.
//
// The seats' clock is the booker's, handed to each call, and checked against the
// database's.
package booking
