//go:build race

package booking

const raceDetector = true
