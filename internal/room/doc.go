// Package room holds the words and rules of the line: names, numbers, epochs,
// the configuration of a room, and what the line answers. It uses the standard
// library only and knows neither Redis nor a transport, so every other package
// may speak its words without dragging a client along.
package room
