//go:build race

package store_test

// race says that the race detector is on, with which SQLite takes ten times as long.
const race = true
