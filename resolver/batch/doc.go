// Package batch reads and writes many datagrams with one call, and waits for
// sockets, without the Go runtime: with recvmmsg, sendmmsg and epoll of Linux.
// On other systems it is empty.
//
// The runtime parks a goroutine for each socket and calls its poller once for
// each datagram, which costs more than all that Rideau does with a query.
// Without the runtime a descriptor is a plain number: the caller that closes one
// makes sure that no other goroutine uses it any more.
package batch
