package main

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// The address in true answers, and the one in forged answers. No client may ever see
// the second.
const (
	truth = "192.0.2.1"
	lie   = "203.0.113.66"
)

// mood is what a liar does with queries.
type mood int32

const (
	honest mood = iota
	mute
	wrongID
	wrongQuestion
	trailing     // the truth, with octets after it
	looping      // a name that points at itself
	huge         // 64 KB
	garbage      // no message
	cut          // half a message
	unasked      // records that nobody asked for
	failing      // SERVFAIL
	refusing     // REFUSED
	truncating   // TC by UDP, and by TCP a stream that ends too soon
	late         // after the attempt's time
	duplicating  // the truth many times over
	moods        // how many there are
	datagramSize = 65507
)

// liar is an upstream that answers as its mood says.
type liar struct {
	addr string
	mood atomic.Int32
	pc   net.PacketConn
	l    net.Listener
}

func newLiar(t testing.TB) *liar {
	t.Helper()
	u := new(liar)
	var err error
	for range 50 {
		if u.pc, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if u.l, err = net.Listen("tcp4", u.pc.LocalAddr().String()); err == nil {
			break
		}
		u.pc.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	u.addr = u.pc.LocalAddr().String()
	t.Cleanup(func() { u.pc.Close(); u.l.Close() })
	go u.datagrams()
	go u.streams()
	return u
}

func (u *liar) datagrams() {
	buf := make([]byte, 4096)
	for {
		n, from, err := u.pc.ReadFrom(buf)
		if err != nil {
			return
		}
		now := mood(u.mood.Load())
		q := append([]byte(nil), buf[:n]...)
		for _, m := range answersIn(now, q, false) {
			if now == late {
				time.AfterFunc(700*time.Millisecond, func() { _, _ = u.pc.WriteTo(m, from) })
				continue
			}
			_, _ = u.pc.WriteTo(m, from)
		}
	}
}

func (u *liar) streams() {
	for {
		c, err := u.l.Accept()
		if err != nil {
			return
		}
		go u.stream(c)
	}
}

func (u *liar) stream(c net.Conn) {
	defer c.Close()
	for {
		c.SetDeadline(time.Now().Add(5 * time.Second))
		var n [2]byte
		if _, err := io.ReadFull(c, n[:]); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(n[:]))
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		now := mood(u.mood.Load())
		for _, m := range answersIn(now, q, true) {
			framed := append([]byte{byte(len(m) >> 8), byte(len(m))}, m...)
			if now == truncating { // the stream ends amid the answer
				_, _ = c.Write(framed[:len(framed)/2])
				c.(*net.TCPConn).CloseWrite()
				time.Sleep(100 * time.Millisecond)
				return
			}
			if _, err := c.Write(framed); err != nil {
				return
			}
		}
		if now == cut && rand.IntN(2) == 0 {
			c.(*net.TCPConn).SetLinger(0) // a reset
			return
		}
	}
}

// answersIn returns the messages that answer a query in a mood.
func answersIn(now mood, query []byte, tcp bool) [][]byte {
	q := new(dns.Msg)
	if q.Unpack(query) != nil || len(q.Question) != 1 {
		return nil
	}
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	a := func(addr string) *dns.A {
		return &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: uint32(1 + rand.IntN(60))}, A: net.ParseIP(addr)}
	}
	say := func(addr string) []byte {
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, a(addr))
		}
		out, err := m.Pack()
		if err != nil {
			return nil
		}
		return out
	}
	if strings.Contains(q.Question[0].Name, "nx-") {
		m.Rcode = dns.RcodeNameError
		m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "lab.example.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 30}, Ns: "ns.lab.example.", Mbox: "root.lab.example.", Minttl: 30}}
		out, _ := m.Pack()
		return [][]byte{out}
	}
	switch now {
	case mute:
		return nil
	case wrongID:
		m.Id++
		return [][]byte{say(lie)}
	case wrongQuestion:
		m.Question[0].Name = "other." + m.Question[0].Name
		return [][]byte{say(lie)}
	case trailing:
		return [][]byte{append(say(truth), "octets after the message"...)}
	case looping:
		out := say(truth)
		return [][]byte{append(out[:12+len(q.Question[0].Name)+5], 0xC0, byte(12+len(q.Question[0].Name)+5), 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 203, 0, 113, 66)}
	case huge:
		out := say(truth)
		return [][]byte{append(out, make([]byte, datagramSize-len(out))...)}
	case garbage:
		out := make([]byte, 1+rand.IntN(600))
		for i := range out {
			out[i] = byte(rand.IntN(256))
		}
		copy(out, query[:2])
		return [][]byte{out}
	case cut:
		out := say(truth)
		return [][]byte{out[:12+rand.IntN(len(out)-12)]}
	case unasked:
		other := a(lie)
		other.Hdr.Name = "lab.example."
		m.Extra = append(m.Extra, other)
	case failing:
		m.Rcode = dns.RcodeServerFailure
		return [][]byte{say(lie)}
	case refusing:
		m.Rcode = dns.RcodeRefused
		return [][]byte{say(lie)}
	case truncating:
		m.Truncated = !tcp
	case duplicating:
		out := say(truth)
		return [][]byte{out, out, out, out, out}
	}
	return [][]byte{say(truth)}
}
