package ops

import (
	"context"
	"net/http"

	"rideau/resolver/ops/access"
)

// Caller is who sent a request, as far as is known.
type Caller struct {
	// Address is where the request came from; empty if it came by the Unix socket.
	Address string
	// Socket says that it came by the Unix socket. Peer is the process that sent
	// it, as the system says; nil where it does not.
	Socket bool
	Peer   *Peer
	// Who is the viewer.
	Who access.Who
}

// Peer is a process of this machine, as it was when it connected.
type Peer struct {
	User    uint32 // its user id
	Process int32  // its process id; 0 if it is in another namespace
}

// callerKey is the key of a request's Caller in its context.
type callerKey struct{}

// CallerOf returns who sent the request of a context, which is one that
// [Options.Reload], DryRun or Flush is called with; nil for other contexts.
func CallerOf(ctx context.Context) *Caller {
	c, _ := ctx.Value(callerKey{}).(*Caller)
	return c
}

// withCaller returns the request with its Caller in the context.
func withCaller(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, caller(r)))
}

// caller returns who sent a request that was admitted.
func caller(r *http.Request) *Caller {
	c := &Caller{Address: r.RemoteAddr, Who: access.From(r.Context())}
	if conn := connOf(r); conn != nil && conn.socket {
		c.Address, c.Socket, c.Peer = "", true, conn.peer
	}
	return c
}

// Denial is a request that was refused because of who sent it.
type Denial struct {
	Caller Caller
	What   string // what was asked for: reload, flush, profile, or request for anything
	Reason string
}
