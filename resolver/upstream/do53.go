package upstream

import (
	"context"
	"encoding/binary"
	"math"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"rideau/resolver/wire"
)

const (
	// plainFor is how long a server that knows no EDNS is asked without it
	// before it gets another chance.
	plainFor = 5 * time.Minute
	// maxMismatches is how many messages that are no answer to the query one
	// socket takes. Whoever sends so many is guessing: the question is then
	// asked over TCP, where guesses do not get in (RFC 5452 section 7).
	maxMismatches = 256
)

// Do53Options go with [NewDo53]. The zero value is good.
type Do53Options struct {
	// IdleTimeout is how long a TCP connection is kept for the next query;
	// 0 for 10 seconds.
	IdleTimeout time.Duration
	// MaxIdle is how many such connections are kept; 0 for 4.
	MaxIdle int
	// TrustAD: the server is trusted to check DNSSEC signatures. It counts
	// only for one on this host, as anybody on a path could set the bit.
	TrustAD bool
	// Stream has the server asked over TCP alone.
	Stream bool
	// MixCase has the letters of names go out in random case (0x20). A server
	// that does not give them back so is asked as usual.
	MixCase bool
	// Cookies sends cookies to the server if it offers any (RFC 7873).
	Cookies bool
}

// Do53 is a resolver asked over UDP, and over TCP for what UDP does not
// carry. Each query has an id of its own from a cryptographic source and a
// socket of its own, connected to the server, whose port the kernel picks at
// random (RFC 5452 section 9.2); on Linux out of
// net.ipv4.ip_local_port_range, which can be widened.
type Do53 struct {
	addr       string
	label      string // addr, or what else operators call it
	stream     bool
	trusted    bool
	udp        *net.UDPAddr
	free       buffers
	idle       idle
	mismatches atomic.Uint64
	born       time.Time
	plainUntil atomic.Int64 // since born; before it, OPT records are left out
	guise      guise
}

// NewDo53 makes an upstream of the server at addr. It connects to nothing yet.
func NewDo53(addr netip.AddrPort, o Do53Options) *Do53 {
	u := &Do53{addr: addr.String(), label: addr.String(), stream: o.Stream, trusted: o.TrustAD && addr.Addr().IsLoopback(), udp: net.UDPAddrFromAddrPort(addr), free: newBuffers(), born: time.Now()}
	u.plainUntil.Store(math.MinInt64)
	u.guise.init(o.MixCase, o.Cookies)
	if o.Stream {
		u.label = "tcp://" + u.addr
	}
	u.idle.timeout, u.idle.max = o.IdleTimeout, o.MaxIdle
	if u.idle.timeout <= 0 {
		u.idle.timeout = 10 * time.Second
	}
	if u.idle.max <= 0 {
		u.idle.max = 4
	}
	return u
}

// Addr is the server's address and port.
func (u *Do53) Addr() string { return u.label }

// TrustsAD reports whether AD in the server's responses counts.
func (u *Do53) TrustsAD() bool { return u.trusted }

// Mismatches counts the messages that came from the server's address and
// were no answer to what was asked on their socket: forged, late or broken.
func (u *Do53) Mismatches() uint64 { return u.mismatches.Load() }

// Close lets go of the idle connections, and from now on none is kept.
// Exchanges go on.
func (u *Do53) Close() { u.idle.close() }

// Exchange implements [Upstream]. A truncated response is asked for again
// over TCP (RFC 7766 section 5), and so is one that finds no cookie good enough (RFC 7873
// section 5.3); a server that does not understand OPT
// records is asked again without (RFC 6891 section 6.2.2).
func (u *Do53) Exchange(ctx context.Context, dst, query []byte) ([]byte, error) {
	base := len(dst)
	w := wire.NewWalk(query)
	if w.Err() != nil || wire.Count(query, wire.Question) != 1 || len(query) > wire.MaxMessage {
		return dst, ErrorOf(ctx, u.label, wire.ErrMessage)
	}
	if err := ctx.Err(); err != nil {
		return dst, ErrorOf(ctx, u.label, err)
	}
	m := newFrame(query)
	edns := hasOPT(query)
	if edns && u.isPlain() {
		m, edns = m.withoutOPT(), false
	}
	m, cookie := u.guise.dress(m)
	out, err := u.ask(ctx, dst, m)
	if err == nil && cookie && (refusesCookie(out[base:]) || refusesEDNS(out[base:])) {
		// With a new cookie, or if that is what the server minds, without.
		if refusesEDNS(out[base:]) {
			u.guise.setOff(&u.guise.cookieOff)
			u.guise.jar.Store(nil)
		}
		m, _ = u.guise.dress(newFrame(query))
		out, err = u.ask(ctx, out[:base], m)
	}
	if err == nil && !u.stream && refusesCookie(out[base:]) {
		// Several servers may be behind the address, with a secret each. Or the
		// server insists on cookies now, and gets one the next time.
		u.guise.cookieOff.Store(0)
		out, err = u.askTCP(ctx, out[:base], m)
	}
	if err == nil && edns && refusesEDNS(out[base:]) {
		m = m.withoutOPT()
		out, err = u.ask(ctx, out[:base], m)
		if err == nil && !refusesEDNS(out[base:]) {
			u.plainUntil.Store(int64(time.Since(u.born) + plainFor))
		}
	}
	if err != nil {
		return dst[:base], ErrorOf(ctx, u.label, err)
	}
	wire.SetID(out[base:], wire.ID(query))
	return out, nil
}

// exchangeTCP is Exchange for a query that UDP was of no use for.
func (u *Do53) exchangeTCP(ctx context.Context, dst, query []byte) ([]byte, error) {
	m, _ := u.guise.dress(newFrame(query))
	m.renew()
	out, err := u.askTCP(ctx, dst, m)
	if err != nil {
		return dst, ErrorOf(ctx, u.label, err)
	}
	wire.SetID(out[len(dst):], wire.ID(query))
	return out, nil
}

func (u *Do53) isPlain() bool {
	until := u.plainUntil.Load()
	return until != math.MinInt64 && int64(time.Since(u.born)) < until
}

func (u *Do53) ask(ctx context.Context, dst []byte, m frame) ([]byte, error) {
	if u.stream {
		return u.askTCP(ctx, dst, m)
	}
	out, settled, err := u.askUDP(ctx, dst, m)
	if err != nil || settled {
		return out, err
	}
	return u.askTCP(ctx, dst, m)
}

// askUDP asks once. It is not settled if TCP is to be asked.
func (u *Do53) askUDP(ctx context.Context, dst []byte, m frame) (out []byte, settled bool, err error) {
	conn, err := net.DialUDP("udp", nil, u.udp)
	if err != nil {
		return dst, false, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(past()) })
	defer stop()
	r, err := newReceiver(conn, u.free)
	if err != nil {
		return dst, false, err
	}
	defer r.release()

	m.renew()
	query := m.message()
	if _, err := conn.Write(query); err != nil {
		return dst, false, err
	}
	for range maxMismatches {
		resp, err := r.next()
		if err != nil {
			return dst, false, err
		}
		switch compare(query, resp) {
		case answers:
			if u.guise.look(query, resp) == doubted || wire.Flags(resp)&wire.FlagTC != 0 {
				return dst, false, nil
			}
			return append(dst, resp...), true, nil
		case rejects:
			return appendRejection(dst, query, wire.Flags(resp)), true, nil
		case deflects:
			return dst, false, nil
		}
		u.mismatches.Add(1)
	}
	return dst, false, nil
}

// past is a deadline that is over.
func past() time.Time { return time.Unix(1, 0) }

// frame is a query of our own with the two octets of length before it that
// TCP wants (RFC 1035 section 4.2.2).
type frame []byte

func newFrame(query []byte) frame {
	f := make(frame, 0, 2+len(query))
	f = binary.BigEndian.AppendUint16(f, uint16(len(query)))
	return append(f, query...)
}

func (f frame) message() []byte { return f[2:] }
