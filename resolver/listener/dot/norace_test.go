//go:build !race

package dot_test

// race says that the race detector is on.
const race = false
