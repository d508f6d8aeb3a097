// Package dot speaks TLS on the connections of clients (RFC 7858), so that package
// stream can answer what comes on them.
//
// A connection is a [stream.Stream]. It reads from the system as much as has come,
// and gives all whole records of that to one Read, so that the responses to queries
// of many records leave with one record and one system call.
package dot

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"rideau/blocklists/group"
	"rideau/resolver/listener/admission"
	"rideau/resolver/listener/secure"
	"rideau/resolver/listener/stream"
)

// Protocol is DoT's name in TLS (RFC 7858 section 3.1 leaves it out, IANA has it).
// Clients may leave it out.
const Protocol = "dot"

// Options of connections. All are to be set.
type Options struct {
	Secure *secure.Config
	// Fresh bounds the connections whose handshakes are under way.
	Fresh *admission.Gate
	// HandshakeTimeout is how long a handshake may take.
	HandshakeTimeout time.Duration
}

// Wrap returns what makes a connection by TLS of one by TCP, which has to be a
// net.Conn as well.
func Wrap(o Options) func(stream.Stream) stream.Stream {
	config := o.Secure.For(Protocol)
	return func(raw stream.Stream) stream.Stream {
		c := &conn{raw: raw, o: &o}
		c.in.Conn = raw.(net.Conn)
		c.tls = tls.Server(&c.in, config)
		return c
	}
}

// farewell is how long Close waits for the client to take the end of TLS.
const farewell = 100 * time.Millisecond

var (
	errHandshake = errors.New("the TLS handshake failed")
	errTooMany   = errors.New("the client has too many TLS handshakes under way")
)

// conn is a connection. One goroutine at a time reads, and one writes.
type conn struct {
	raw   stream.Stream
	tls   *tls.Conn
	o     *Options
	in    input
	ready atomic.Bool // the handshake is complete
	who   *group.Claims
}

// Claims are what the client said of itself in the handshake; nil before that. The goroutine that reads may call it.
func (c *conn) Claims() *group.Claims { return c.who }

// Read implements stream.Stream. The first call makes the handshake.
func (c *conn) Read(b []byte) (int, error) {
	if !c.ready.Load() {
		if err := c.handshake(); err != nil {
			return 0, err
		}
	}
	n, err := c.tls.Read(b)
	c.in.ready = true
	for err == nil && n < len(b) && c.in.hasRecord() {
		more := 0
		more, err = c.tls.Read(b[n:])
		n += more
	}
	c.in.ready = false
	if n > 0 {
		err = nil // it comes again, unless it was for want of octets
	}
	return n, err
}

// handshake makes the handshake. Its error is never one of a deadline, after which
// a reader would try again: TLS cannot.
func (c *conn) handshake() error {
	var from net.TCPAddr
	if a, ok := c.raw.RemoteAddr().(*net.TCPAddr); ok {
		from = *a
	}
	place := c.o.Fresh.Admit(from.AddrPort().Addr(), func() { c.raw.Close() })
	if place == nil {
		return errTooMany
	}
	defer place.Leave()
	defer time.AfterFunc(c.o.HandshakeTimeout, func() { c.raw.Close() }).Stop()
	if err := c.tls.Handshake(); err != nil {
		return errHandshake
	}
	state := c.tls.ConnectionState()
	c.who = c.o.Secure.Claims(&state)
	c.ready.Store(true)
	return nil
}

// Write implements stream.Stream.
func (c *conn) Write(b []byte) (int, error) { return c.tls.Write(b) }

// SetReadDeadline implements stream.Stream.
func (c *conn) SetReadDeadline(t time.Time) error { return c.raw.SetReadDeadline(t) }

// StalledSince implements stream.Stream.
func (c *conn) StalledSince() int64 { return c.raw.StalledSince() }

// RemoteAddr implements stream.Stream.
func (c *conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// Close implements stream.Stream. It says so to the client, if that takes it.
func (c *conn) Close() error {
	if !c.ready.Load() {
		return c.raw.Close()
	}
	defer time.AfterFunc(farewell, func() { c.raw.Close() }).Stop()
	return c.tls.Close()
}

const (
	recordHeader = 5
	inputSize    = 2 << 10
)

// input is what TLS reads from. It gives out a record at a time at most, so that it knows
// whether another whole one has come.
type input struct {
	net.Conn
	buf        [inputSize]byte
	start, end int  // what was read and not given out
	left       int  // of the record that is being given out
	head       int  // octets of the record's header that were given out
	size       int  // the record's, as far as the header was given out
	ready      bool // Read gives out what there is, and waits for nothing
}

// Read implements net.Conn for TLS. It never gives out octets of two records.
func (in *input) Read(b []byte) (int, error) {
	if in.start == in.end {
		if in.ready {
			return 0, os.ErrDeadlineExceeded // TLS keeps what it has, and asks again
		}
		n, err := in.Conn.Read(in.buf[:])
		if n == 0 || err != nil {
			return 0, err
		}
		in.start, in.end = 0, n
	}
	have := in.buf[in.start:in.end]
	if in.left == 0 { // a header first, or the rest of one
		n := min(recordHeader-in.head, len(have), len(b))
		for _, x := range have[:n] {
			if in.head++; in.head > 3 {
				in.size = in.size<<8 | int(x)
			}
		}
		if in.head == recordHeader {
			in.left, in.head, in.size = in.size, 0, 0
		}
		copy(b, have[:n])
		in.start += n
		if b, have = b[n:], have[n:]; in.left == 0 || len(b) == 0 || len(have) == 0 {
			return n, nil
		}
		m := copy(b, have[:min(in.left, len(have))])
		in.start += m
		in.left -= m
		return n + m, nil
	}
	n := copy(b, have[:min(in.left, len(have))])
	in.start += n
	in.left -= n
	return n, nil
}

// hasRecord reports whether a whole record is there to be read.
func (in *input) hasRecord() bool {
	have := in.buf[in.start:in.end]
	return in.left == 0 && in.head == 0 && len(have) >= recordHeader &&
		len(have) >= recordHeader+int(binary.BigEndian.Uint16(have[3:]))
}
