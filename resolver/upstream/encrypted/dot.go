package encrypted

import (
	"context"
	"net"
	"slices"
	"sync/atomic"

	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/upstream/pipeline"
)

// DoT is a server asked over TLS (RFC 7858). Its connections are kept, and carry
// many queries at a time, whose responses arrive in any order (RFC 7766 sections
// 6.2.1 and 7). It is safe for concurrent use.
type DoT struct {
	server
	pool *pipeline.Pool
}

// NewDoT makes a server. It connects to nothing yet.
func NewDoT(o Options) *DoT {
	u := new(DoT)
	u.server = newServer(label("tls", &o, ""), o, "dot")
	u.pool = pipeline.New(pipeline.Options{
		Dial: func(ctx context.Context) (net.Conn, error) {
			c, err := u.dialTLS(ctx, new(atomic.Uint64))
			if err != nil {
				return nil, err // an interface that is nil, not one with a nil *tls.Conn
			}
			return c, nil
		},
		DialTimeout: 2 * dialTimeout,
		IdleTimeout: u.o.IdleTimeout,
		Judge: func(sent, msg []byte) (acceptance.Result, []byte) {
			return acceptance.Accept(acceptance.Encrypted, nil, sent, msg)
		},
		Mismatched: func() { u.mismatches.Add(1) },
		Panicked:   u.panicked,
	})
	return u
}

// Close closes idle connections. Exchanges go on; their connections are closed
// when they are idle.
func (u *DoT) Close() { u.pool.Close() }

// Connections implements member.Connector.
func (u *DoT) Connections() (answers int, single bool) { return u.pool.Connections() }

// Exchange implements member.Server. A server that refuses the OPT record is asked
// again without one (RFC 6891 section 6.2.2).
func (u *DoT) Exchange(ctx context.Context, dst, query []byte) ([]byte, error) {
	resp, result, err := u.ask(ctx, query)
	if err == nil && result == acceptance.RefusesEDNS {
		if plain := acceptance.Shaped(slices.Clone(query), acceptance.Plain); len(plain) < len(query) {
			resp, _, err = u.ask(ctx, plain)
		}
	}
	if err != nil {
		return dst, u.fail(ctx, err)
	}
	return appendResponse(dst, query, resp), nil
}

func (u *DoT) ask(ctx context.Context, query []byte) ([]byte, acceptance.Result, error) {
	m, err := prepare(query, 0, 2)
	if err != nil {
		return nil, 0, err
	}
	return u.pool.Ask(ctx, m)
}

// ExchangeStream implements member.Server: TLS is all there is.
func (u *DoT) ExchangeStream(ctx context.Context, dst, query []byte) ([]byte, error) {
	return u.Exchange(ctx, dst, query)
}
