// Package venue reads plan files: which seats a sale has, of which category each is, and
// what the categories cost. It is pure: text in, a plan or a list of faults out.
//
// A file is read whole before anything is done with it. What is wrong has a stable code
// and its place: the line of a CSV file, the path in a JSON file. A plan that is returned
// has no fault: each seat stands in it once, under a name that the shop takes, with a
// price of one currency.
package venue
