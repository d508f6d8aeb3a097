package resolvertest

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"rideau/resolver"
	"rideau/resolver/listener"
)

// front sends a scenario's queries to its resolver over real sockets. It is the
// handler of the listener, and gives each query the client and the time that the
// scenario says.
type front struct {
	r *run
	l *listener.Listener

	mu    sync.Mutex // guards calls
	calls map[string]*frontCall
}

// frontCall is a query that was sent over sockets.
type frontCall struct {
	x       *exchange
	pending chan struct{} // closed when Answer left it pending
	done    chan struct{} // closed when it has been finished
	out     []byte
	outcome resolver.Outcome
}

// socketFront makes the run send its queries over real sockets.
func socketFront(r *run) {
	f := &front{r: r, calls: map[string]*frontCall{}}
	l, err := listener.Listen(f, listener.Options{Addrs: []string{"127.0.0.1:0"}, Workers: 1})
	if err != nil {
		r.t.Fatal(err)
	}
	f.l, r.front = l, f.ask
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- l.Serve(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("listener: %v", err)
		}
	})
}

// ask sends the query. It returns nil when the query was answered, and a function
// that waits for the answer when the query is pending.
func (f *front) ask(x *exchange) (wait func()) {
	c := &frontCall{x: x, pending: make(chan struct{}), done: make(chan struct{})}
	f.mu.Lock()
	if f.calls[string(x.sent)] != nil {
		f.r.t.Errorf("two queries of the same octets at a time")
	}
	f.calls[string(x.sent)] = c
	f.mu.Unlock()
	conn, err := net.Dial(map[bool]string{false: "udp", true: "tcp"}[x.transport.LargeAnswers()], f.l.Addr().String())
	if err != nil {
		f.r.t.Error(err)
		return nil
	}
	msg := slices.Clone(x.sent)
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) // no port waits: a fuzzer would use up all
	}
	if x.transport.LargeAnswers() {
		msg = frame(msg)
	}
	if _, err := conn.Write(msg); err != nil {
		f.r.t.Error(err)
	}
	finish := func() {
		defer conn.Close()
		select {
		case <-c.done:
		case <-time.After(20 * time.Second):
			f.r.failf(x.at, "the query has not come to an end")
			return
		}
		x.outcome = c.outcome
		f.mu.Lock()
		delete(f.calls, string(x.sent))
		f.mu.Unlock()
		if len(c.out) == 0 {
			return
		}
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if x.transport.LargeAnswers() {
			x.out = readFrame(conn)
		} else {
			buf := make([]byte, 65535)
			n, err := conn.Read(buf)
			if err != nil {
				f.r.failf(x.at, "%v", err)
			}
			x.out = buf[:n]
		}
		if string(x.out) != string(c.out) {
			f.r.failf(x.at, "answered %x, sent %x", c.out, x.out)
		}
	}
	select {
	case <-c.pending:
		return finish
	case <-c.done:
	case <-time.After(20 * time.Second):
	}
	finish()
	f.r.settle(x)
	return nil
}

// as gives q the client and the time of the scenario while do runs.
func (f *front) as(q *resolver.Query, do func(*frontCall) ([]byte, resolver.Outcome)) ([]byte, resolver.Outcome) {
	f.mu.Lock()
	c := f.calls[string(q.Msg)] // a message of nobody in this test gets no response
	f.mu.Unlock()
	if c == nil {
		return nil, resolver.Outcome{Kind: resolver.Dropped}
	}
	was := *q
	q.Client, q.Keepalive, q.Received, q.Transport = c.x.client, c.x.keepalive, f.r.clock.Now(), c.x.transport
	out, o := do(c)
	if o.Kind != resolver.Pending {
		f.r.counters.Observe(q, o, 0)
		close(c.done)
	}
	q.Client, q.Keepalive, q.Received, q.Transport = was.Client, was.Keepalive, was.Received, was.Transport
	return out, o
}

// Answer implements listener.Handler.
func (f *front) Answer(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	return f.as(q, func(c *frontCall) ([]byte, resolver.Outcome) {
		out, o := f.r.resolver.Answer(dst, q)
		if o.Kind == resolver.Pending {
			close(c.pending)
		}
		c.out, c.outcome = slices.Clone(out[len(dst):]), o
		return out, o
	})
}

// Resolve implements listener.Handler.
func (f *front) Resolve(ctx context.Context, dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	return f.as(q, func(c *frontCall) ([]byte, resolver.Outcome) {
		out, o := f.r.resolver.Resolve(f.r.waitContext(ctx), dst, q)
		c.out, c.outcome = slices.Clone(out[len(dst):]), o
		return out, o
	})
}

// Shed implements listener.Handler.
func (f *front) Shed(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	return f.r.resolver.Shed(dst, q)
}
