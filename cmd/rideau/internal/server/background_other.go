//go:build !linux

package server

// background runs f.
func background(f func()) { f() }
