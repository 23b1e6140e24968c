// Package booking is the shop behind the line: seats that are held and booked by
// visitors with a pass, on one SQL database that several bookers may share.
//
// It promises that a seat is booked at most once, ever; that a hold resolves at
// most once, into confirmed, released or expired; that money is never captured
// for a seat not booked; and that a fact for Kafka is written in the same
// transaction as what it tells, so that it is never lost and never invented.
//
// Every change is a conditional statement on a primary key, whose count of rows
// says whether it won; nothing is read first in order to decide a write. All
// transactions lock in one order: the admission, its hold, the seats by name,
// the counter of the room. What the order leaves (an index, a gap) ends as a
// deadlock that sqldb runs again.
//
// The seats' clock is the booker's, handed to each call, and checked against the
// database's.
package booking
