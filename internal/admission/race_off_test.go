//go:build !race

package admission

import "waitroom/internal/room"

const quietRooms = room.MaxRooms
