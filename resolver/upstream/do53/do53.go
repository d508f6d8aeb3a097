// Package do53 asks servers over UDP and TCP, in plain text.
package do53

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/upstream/pipeline"
	"rideau/resolver/upstream/try"
	"rideau/resolver/wire"
)

// Options go with [New]. The zero value is good.
type Options struct {
	// IdleTimeout is how long a TCP connection is kept for the next query;
	// 0 for 10 seconds.
	IdleTimeout time.Duration
	// TrustAD: the server is trusted to check DNSSEC signatures. It counts
	// only for one on this host, as anybody on a path could set the bit.
	TrustAD bool
	// Stream has the server asked over TCP alone.
	Stream bool
	// MixCase has the letters of names go out in random case (0x20). A server
	// that does not repeat them so is asked as usual, and so is one with Stream:
	// nobody off the path can forge what comes over TCP.
	MixCase bool
	// Cookies sends cookies to the server if it offers any (RFC 7873).
	Cookies bool
}

// Server is a server asked over UDP, and over TCP for what UDP does not carry.
// Each query has an id of its own from a cryptographic source and a socket of
// its own, connected to the server, whose port the kernel picks at random (RFC
// 5452 section 9.2); on Linux out of net.ipv4.ip_local_port_range, which can
// be widened. It is safe for concurrent use.
type Server struct {
	addr     string
	label    string // addr, or what else operators call it
	stream   bool
	trusted  bool
	udp      *net.UDPAddr
	free     buffers
	tcp      *pipeline.Pool
	endpoint *acceptance.Endpoint
	muted    silence

	// subject is a query that was answered in another way than the usual one;
	// nil if there was none. suspected is whether Learn has not seen it yet.
	subject   atomic.Pointer[[]byte]
	suspected atomic.Bool
	calmUntil atomic.Pointer[time.Time] // until then none is noted
	// lettered is a query for a name with letters; nil before the first.
	lettered atomic.Pointer[[]byte]
}

// New makes the Server at addr. It connects to nothing yet.
func New(addr netip.AddrPort, o Options) *Server {
	s := &Server{addr: addr.String(), label: addr.String(), stream: o.Stream, trusted: o.TrustAD && addr.Addr().IsLoopback(),
		udp: net.UDPAddrFromAddrPort(addr), free: newBuffers(), endpoint: acceptance.NewEndpoint(addr, o.MixCase && !o.Stream, o.Cookies)}
	if o.Stream {
		s.label = "tcp://" + s.addr
	}
	s.tcp = s.newPool(o.IdleTimeout)
	return s
}

// Addr is the server's address and port, after "tcp://" if it is asked over
// TCP alone.
func (s *Server) Addr() string { return s.label }

// TrustsAD reports whether AD in the server's responses counts.
func (s *Server) TrustsAD() bool { return s.trusted }

// Endpoint is where multiplexers may ask the server, too; nil if it is asked
// over TCP alone.
func (s *Server) Endpoint() *acceptance.Endpoint {
	if s.stream {
		return nil
	}
	return s.endpoint
}

// Mismatches counts the messages that came from the server's address and were
// no response to what was asked on their socket: forged, late or broken.
func (s *Server) Mismatches() uint64 { return s.endpoint.Mismatches() }

// Connections implements member.Connector.
func (s *Server) Connections() (answers int, single bool) { return s.tcp.Connections() }

// Close closes the idle connections, and from now on none is kept. Exchanges
// go on.
func (s *Server) Close() { s.tcp.Close() }

// Exchange implements [member.Server]. A truncated response is asked for
// again over TCP (RFC 7766 section 5), and so is one that finds no cookie good
// enough (RFC 7873 section 5.3). If TCP brings nothing, and the server says the
// same again, the response is the truncated one. A server that does not
// understand OPT records is asked again without one (RFC 6891 section 6.2.2).
// One that does not answer is asked in several ways at a time.
func (s *Server) Exchange(ctx context.Context, dst, query []byte) ([]byte, error) {
	w := wire.NewWalk(query)
	if w.Err() != nil || wire.Count(query, wire.Question) != 1 || len(query) > wire.MaxMessage {
		return dst, upstream.ErrorOf(ctx, s.label, wire.ErrMessage)
	}
	if err := ctx.Err(); err != nil {
		return dst, upstream.ErrorOf(ctx, s.label, err)
	}
	out, err := s.exchange(ctx, dst, query)
	if err != nil {
		return dst, upstream.ErrorOf(ctx, s.label, err)
	}
	wire.SetID(out[len(dst):], wire.ID(query))
	return out, nil
}

// exchange is Exchange for a query that is in order. The response has the id of
// what was sent.
func (s *Server) exchange(ctx context.Context, dst, query []byte) ([]byte, error) {
	if s.stream {
		return s.exchangeAs(ctx, dst, query, acceptance.Whole)
	}
	if s.lettered.Load() == nil && acceptance.HasLetters(query) {
		q := bytes.Clone(query)
		s.lettered.Store(&q)
	}
	if t := try.Of(ctx); t != try.First {
		return s.exchangeWide(ctx, dst, query, t)
	}
	if s.endpoint.Streams() {
		return s.ExchangeStream(ctx, dst, query)
	}
	return s.exchangeAs(ctx, dst, query, s.endpoint.Shape())
}

// exchangeAs is an exchange with queries of a shape. The server is asked anew
// once it has turned out that it repeats no case, and once that it has no cookie
// any more.
func (s *Server) exchangeAs(ctx context.Context, dst, query []byte, shape acceptance.Shape) ([]byte, error) {
	for range 3 {
		out, result, err := s.exchangeOnce(ctx, dst, query, shape)
		if err != nil || result != acceptance.Doubtful {
			return out, err
		}
	}
	return dst, errDoubtful
}

// exchangeOnce is exchangeAs with what is known of the server now. The result is
// Doubtful if something has turned out, and the query is to be sent anew.
func (s *Server) exchangeOnce(ctx context.Context, dst, query []byte, shape acceptance.Shape) ([]byte, acceptance.Result, error) {
	base := len(dst)
	f, cookie := s.protect(newFrame(query), shape)
	out, result, err := s.ask(ctx, dst, f)
	if err == nil && cookie && result == acceptance.RefusesEDNS {
		s.endpoint.DropCookie() // that may be what the server does not understand
		f, _ = s.protect(newFrame(query), shape)
		out, result, err = s.ask(ctx, out[:base], f)
	}
	for range 2 {
		if err != nil || result != acceptance.RefusesCookie {
			break
		}
		// The server insists on a cookie, or has given a new one.
		s.endpoint.WantCookie()
		f, _ = s.protect(newFrame(query), shape)
		out, result, err = s.ask(ctx, out[:base], f)
	}
	if err == nil && !s.stream && result == acceptance.RefusesCookie {
		// Several servers may be behind the address, with a secret each.
		out, result, err = s.exchangeWithoutCookie(ctx, out[:base], f)
	}
	if err == nil && hasOPT(f.message()) && (result == acceptance.RefusesEDNS || result == acceptance.Failure && s.endpoint.MayMindEDNS(f.message(), out[base:])) {
		return s.exchangePlain(ctx, out[:base], f, result)
	}
	return out, result, err
}

// exchangePlain asks again without OPT record (RFC 6891 section 6.2.2). refusal
// is what the server has said to one.
func (s *Server) exchangePlain(ctx context.Context, dst []byte, f frame, refusal acceptance.Result) ([]byte, acceptance.Result, error) {
	out, result, err := s.ask(ctx, dst, f.withoutOPT())
	switch {
	case err != nil:
	case refusal == acceptance.RefusesEDNS:
		if result != acceptance.RefusesEDNS && result != acceptance.Doubtful {
			s.endpoint.SetPlain()
		}
	case result == acceptance.Answer:
		s.endpoint.Observe(acceptance.MindsEDNS)
	default:
		s.endpoint.NotBettered()
	}
	return out, result, err
}

// ExchangeStream implements [member.Server] over TCP.
func (s *Server) ExchangeStream(ctx context.Context, dst, query []byte) ([]byte, error) {
	f, _ := s.protect(newFrame(query), acceptance.Whole)
	out, _, err := s.askTCP(ctx, dst, f)
	if err != nil {
		return dst, upstream.ErrorOf(ctx, s.label, err)
	}
	if s.endpoint.Silent() && !s.endpoint.Streams() {
		s.suspect(query)
	}
	wire.SetID(out[len(dst):], wire.ID(query))
	return out, nil
}

// protect gives the query of one exchange a shape, 0x20 and a cookie, and reports
// whether there is a cookie in it.
func (s *Server) protect(f frame, shape acceptance.Shape) (_ frame, cookie bool) {
	m, cookie := s.endpoint.Protect(acceptance.Shaped(f.message(), shape), s.caseBits(), false)
	return append(f[:2], m...).withLength(), cookie
}

// caseBits are what gives a name its case; nil if it keeps its own.
func (s *Server) caseBits() *[32]byte {
	if !s.endpoint.MixesCase() {
		return nil
	}
	bits := new([32]byte)
	rand.Read(bits[:]) // never fails
	return bits
}

// ask sends f once, and again over TCP if UDP does not bring a response that
// is to be believed. The result is Doubtful if the query is to be sent anew.
func (s *Server) ask(ctx context.Context, dst []byte, f frame) ([]byte, acceptance.Result, error) {
	if s.stream {
		return s.askTCP(ctx, dst, f)
	}
	out, result, err := s.askUDP(ctx, dst, f)
	switch {
	case err != nil:
		return dst, 0, err
	case result == acceptance.Doubtful:
		return s.confirm(ctx, dst, f, s.endpoint.Doubted(f.message(), out[len(dst):]))
	case result != acceptance.Truncated:
		return out, result, nil
	}
	try.NoteTruncated(ctx, out[len(dst):])
	out, result, err = s.askTCP(ctx, dst, f)
	if err == nil || ctx.Err() != nil {
		return out, result, err
	}
	// The server has no TCP, and TC may have been forged.
	again, result, errUDP := s.askUDP(ctx, dst, f)
	if errUDP != nil || result == acceptance.Doubtful || result == acceptance.Truncated && len(again) == len(dst) {
		return dst, 0, err
	}
	return again, result, nil
}

// askUDP sends f once over UDP. The result is Truncated if TCP is to be asked,
// and Doubtful, with the message as it came, if it needs to be confirmed.
func (s *Server) askUDP(ctx context.Context, dst []byte, f frame) ([]byte, acceptance.Result, error) {
	u, err := s.send(ctx, f)
	if err != nil {
		return dst, 0, err
	}
	defer u.close()
	return u.next(dst)
}

// datagram is one query by UDP, on a socket of its own. One goroutine uses it.
type datagram struct {
	s          *Server
	ctx        context.Context
	conn       *net.UDPConn
	query      []byte
	stop       func() bool
	r          *receiver
	mismatches int
}

// send sends f, with a new id. The datagram has to be closed.
func (s *Server) send(ctx context.Context, f frame) (*datagram, error) {
	conn, err := net.DialUDP("udp", nil, s.udp)
	if err != nil {
		return nil, err
	}
	r, err := newReceiver(conn, s.free)
	if err != nil {
		conn.Close()
		return nil, err
	}
	f.renewID()
	u := &datagram{s: s, ctx: ctx, conn: conn, query: f.message(), r: r}
	u.stop = context.AfterFunc(ctx, func() { conn.SetReadDeadline(past()) })
	if _, err := conn.Write(u.query); err != nil {
		u.close()
		return nil, err
	}
	return u, nil
}

func (u *datagram) close() {
	u.stop()
	u.r.release()
	u.conn.Close()
}

// next appends the next message that is a response to the query. The result is
// Doubtful without a message if there were too many others.
func (u *datagram) next(dst []byte) ([]byte, acceptance.Result, error) {
	for u.mismatches < acceptance.MaxMismatches {
		resp, err := u.r.next()
		if errors.Is(err, syscall.ECONNREFUSED) && try.NoteRefused(u.ctx, err) {
			u.mismatches++
			continue
		}
		if err != nil {
			return dst, 0, err
		}
		result, msg := acceptance.Accept(acceptance.Datagram, u.s.endpoint, u.query, resp)
		if result != acceptance.Mismatch {
			return append(dst, msg...), result, nil
		}
		u.mismatches++
		u.s.endpoint.Mismatched()
	}
	return dst, acceptance.Doubtful, nil
}

// past is a deadline that is over.
func past() time.Time { return time.Unix(1, 0) }
