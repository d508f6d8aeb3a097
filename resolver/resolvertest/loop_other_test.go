//go:build !linux

package resolvertest

// loopResolve finishes queries on systems without an event loop.
var loopResolve = plainResolve
