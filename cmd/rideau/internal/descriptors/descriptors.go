// Package descriptors divides the files that a process may have open. A connection is
// one of them, and so is the socket of a query to an upstream server: without bound,
// clients' connections would take those that queries need.
package descriptors

import (
	"fmt"
	"math"
)

// Need says what a server opens beside the connections of its clients.
type Need struct {
	Addresses   int // to listen on
	Workers     int // for each address
	Servers     int // upstream servers
	MaxInFlight int // queries under way to each of them, at most
	HTTPS       int // connections of clients by HTTPS, at most
}

const (
	// base is for files, downloads, what the Go runtime needs, and the operators'
	// HTTP, which has at most 64 connections.
	base = 64 + 64 + 16
	// perWorker is for a worker's socket, its poller and what wakes it.
	perWorker = 3
	// perWorkerAndServer is for the sockets by which a worker asks a server.
	perWorkerAndServer = 2
	// perServer is for connections to a server.
	perServer = 8
	// least is how many connections there are even where nothing is left for them:
	// UDP needs TCP beside it (RFC 7766 section 5).
	least = 8
)

// reserved is how many files n needs where limit may be open. What queries to upstream
// servers may need at most is far more than they usually do: a quarter is kept for it.
func (n Need) reserved(limit int) int {
	sockets := n.Addresses * (1 + n.Workers*(perWorker+n.Servers*perWorkerAndServer))
	return base + sockets + n.HTTPS + n.Servers*perServer + min(n.Servers*n.MaxInFlight, limit/4)
}

// Connections returns how many connections of clients there may be where limit files
// may be open, 0 for any number: at most as many as are configured. If they are fewer,
// warning says why, and what to do.
func (n Need) Connections(limit, configured int) (most int, warning string) {
	if limit <= 0 {
		return configured, ""
	}
	most = min(configured, max(limit-n.reserved(limit), least))
	if most == configured {
		return most, ""
	}
	rest := configured + n.reserved(0)
	want := min(configured+n.reserved(math.MaxInt), rest+(rest-1)/3) // a quarter of the second is kept
	return most, fmt.Sprintf("this process may have %d files open (RLIMIT_NOFILE), so that %d connections of clients are possible beside what DNS by UDP and upstream servers need, "+
		"and not the %d of listen.tcp.max_connections; let it have %d (LimitNOFILE= of systemd, --ulimit nofile= of a container, ulimit -n of a shell), or lower listen.tcp.max_connections",
		limit, most, configured, want)
}
