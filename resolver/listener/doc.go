// Package listener serves DNS over UDP and TCP: it binds addresses, runs what
// reads them, and drains that when it is to end.
//
// Three packages below it do the work. Package session has what all transports
// have in common: a message goes to the handler, is answered at once, waits or
// is shed. Package datagram reads UDP sockets, package stream reads
// connections. A new transport goes beside those two.
//
// # Life
//
// [Listen] binds everything or nothing and starts no goroutine. All of them
// start in [Listener.Serve] and have ended when it returns, unless a handler
// does not return when its context ends.
package listener
