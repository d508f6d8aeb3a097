//go:build !linux

package clock

import "time"

// elapsedTime returns a function that returns the time since the call of elapsedTime.
func elapsedTime() func() time.Duration {
	begun := time.Now()
	return func() time.Duration { return time.Since(begun) }
}
