//go:build race

package venue

const raceDetector = true
