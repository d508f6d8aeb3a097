// Package session answers messages, wherever they come from: it is what all
// transports have in common between a message that was received and a response
// that is to be sent. It knows no sockets.
//
// # A query's way
//
// [Handler.Answer] gets each query first, and never waits. A query that it
// leaves pending needs a permit of the [limit.WaitLimit], which transports and
// listeners share. With a permit it waits: as a [Job], whose goroutine calls
// [Handler.Resolve], or in the hands of a transport that has a way of its own.
// Without one, Handler.Shed answers it.
//
// A query that does not wait ends in [Session.Answer] or Session.Shed, which
// return the response for the transport to send with others. A query that has
// waited ends in its Job, which sends the response by the transport's [Path], or
// in [Session.Finish]. Nothing else counts and records queries, and each is
// counted before its response is sent.
//
// A panic of the handler costs the query that caused it and no other.
//
// # Which type to use
//
// A transport that reads many messages with one goroutine, such as UDP, TCP or
// DoT, has a [Session] for each such goroutine. A transport that has a
// goroutine for each message, such as DoH or DoQ, calls [Exchange.Serve], or
// [Exchange.Submit] if one goroutine hands over many messages.
//
// # Ownership
//
// A message belongs to the transport, which may overwrite it when the call
// that it was given to has returned: a Job owns a copy. A response is appended
// to the transport's buffer, or lies in the Job's buffer until Path.Reply has
// returned. The handler keeps neither.
package session
