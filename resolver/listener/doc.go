// Package listener reads queries from UDP and TCP sockets, has a [Handler]
// answer them, and sends the answers.
//
// # A query's way
//
// A goroutine that reads gives each query to [Handler.Answer], which never
// waits. What it settles is sent by the same goroutine, many at once where
// many came at once. What it leaves pending is copied into a job, whose
// goroutine calls [Handler.Resolve] and sends what that returns from the
// address the client had asked. Jobs are bounded by a [limit.WaitLimit] that
// listeners can share; where none is free the answer is [Handler.Shed]'s.
//
// On Linux a worker, a goroutine that reads a UDP socket, goes past the Go
// runtime: it has a thread and an epoll of its own, on which it waits for its
// socket and for those of upstreams. If the handler offers
// [resolver.Waiters], what it leaves pending waits there, in the worker's own
// hands, and becomes a job only if something out of the ordinary happens to it.
//
// # Ownership
//
// Every buffer has one holder. A query read from a socket lies in a buffer of
// the reading goroutine until Answer has returned; nothing that was read is
// lent for longer. The answer is appended to a buffer of the same goroutine,
// which the kernel has read when the send returns. A job owns copies of all
// it needs, and says in its state who holds it: the pool, a reader that fills
// it, or its own goroutine. A handler keeps neither the query nor the slice.
//
// # Life
//
// [Listen] binds everything or nothing and starts no goroutine. All of them
// start in [Listener.Serve] and have ended when it returns, unless a handler
// does not heed its context.
package listener
