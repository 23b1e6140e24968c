package seatmap

import "waitroom/internal/seat"

// state is a seat's state as the map carries it: one character.
type state = byte

// The states of the map. blocked is not for sale, as an operator said; a word of a newer
// booker becomes it too: not for sale in a way that this process does not know.
const (
	free    state = 'f'
	held    state = 'h'
	booked  state = 'b'
	blocked state = 'x'
)

func stateOf(word seat.State) state {
	switch word {
	case seat.Free:
		return free
	case seat.Held:
		return held
	case seat.Booked:
		return booked
	}
	return blocked
}

func wordOf(s state) seat.State {
	switch s {
	case free:
		return seat.Free
	case held:
		return seat.Held
	case booked:
		return seat.Booked
	}
	return seat.Blocked
}
