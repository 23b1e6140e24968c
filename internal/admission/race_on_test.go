//go:build race

package admission

// The race detector's own runtime now and then dies of as many synchronisations as a
// thousand rooms make in half a minute; the test without it has them all.
const quietRooms = 100
