//go:build !linux

package suffix

// huge is nothing on this system.
func huge[T entry | byte]([]T) {}
