//go:build !linux

package datagram

// batchSize is how many datagrams are read at a time.
const batchSize = 1
