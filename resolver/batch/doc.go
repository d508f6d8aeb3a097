// Package batch reads and writes datagrams many at a time, and waits for
// sockets, past the Go runtime: recvmmsg, sendmmsg and epoll of Linux. On
// other systems it is empty.
//
// The runtime's own way parks a goroutine for each socket and enters its
// poller once for each datagram; that costs more than all that Rideau does
// with a query. The price of going past it is that descriptors are plain
// numbers here: who closes one sees to it that nobody uses it any more.
package batch
