//go:build !linux

package mux

// sockaddr is an address as the system wants it. There is no Mux here.
type sockaddr struct{}
