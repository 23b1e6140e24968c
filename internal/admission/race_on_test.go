//go:build race

package admission

import "runtime"

// The runtime of the race detector crashes now and then (a failed CHECK of its own, or
// SIGSEGV) when the timers of a synctest bubble run on several processors, and these
// tests have tens of thousands of them. Races are found on one processor as well: the
// detector compares clocks, not moments.
func init() { runtime.GOMAXPROCS(1) }

// A thousand rooms are for the run without it.
const quietRooms = 100
