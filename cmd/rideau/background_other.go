//go:build !linux

package main

// background runs f.
func background(f func()) { f() }
