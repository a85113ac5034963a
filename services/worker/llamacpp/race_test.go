//go:build race

package llamacpp

const raceDetector = true
