package do53

import (
	"context"
	"net"
	"time"

	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/upstream/pipeline"
)

const (
	// dialTimeout is how long a connection is opened at most.
	dialTimeout = 4 * time.Second
	idleTimeout = 10 * time.Second
)

// newPool makes the TCP connections to s.
func (s *Server) newPool(idle time.Duration) *pipeline.Pool {
	if idle <= 0 {
		idle = idleTimeout
	}
	return pipeline.New(pipeline.Options{
		Dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", s.addr)
		},
		DialTimeout: dialTimeout,
		IdleTimeout: idle,
		Judge: func(sent, msg []byte) (acceptance.Result, []byte) {
			return acceptance.Accept(acceptance.Stream, s.endpoint, sent, msg)
		},
		Mismatched: s.endpoint.Mismatched,
	})
}

// askTCP sends f over a connection that it shares with others.
func (s *Server) askTCP(ctx context.Context, dst []byte, f frame) ([]byte, acceptance.Result, error) {
	msg, result, err := s.tcp.Ask(ctx, f)
	if err != nil {
		return dst, 0, err
	}
	return append(dst, msg...), result, nil
}
