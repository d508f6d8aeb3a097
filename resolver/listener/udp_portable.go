package listener

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"rideau/resolver/limit"
)

// Ownership: a datagram lies in the buffers of the goroutine that read it
// until it has been answered or copied into a job; portableConn itself has none.

// portableConn is a UDP socket behind the calls that every system has. It has
// one goroutine for each of Options.Workers, all on one socket.
type portableConn struct {
	*net.UDPConn
	wildcard bool
	v6       bool
}

// oobLen is room for the control messages that systems send unasked, too.
const oobLen = 128

func newPortableConn(c *net.UDPConn, log *throttle) *portableConn {
	a := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	p := &portableConn{UDPConn: c, wildcard: a.IsUnspecified(), v6: a.Is6() && !a.Is4In6()}
	if !p.wildcard {
		return p
	}
	var err error
	if p.v6 {
		err = ipv6.NewPacketConn(c).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
	} else {
		err = ipv4.NewPacketConn(c).SetControlMessage(ipv4.FlagDst, true)
	}
	if err != nil {
		// Windows. Where a host has several addresses, answers may leave from
		// another than the one asked, and clients drop them.
		p.wildcard = false
		log.to.Warn("this system does not tell which address was asked; on a host with several, listen on each by name",
			"addr", a.String(), "error", err.Error())
	}
	return p
}

func (c *portableConn) detach() error { return nil }

func (c *portableConn) interrupt() { c.SetReadDeadline(time.Unix(1, 0)) }

func (c *portableConn) serve(w *worker) {
	in, out := make([]byte, maxQuery+1), make([]byte, maxAnswer)
	oob := make([]byte, oobLen)
	for w.l.phase.Load() < sweeping {
		n, oobn, _, from, err := c.ReadMsgUDPAddrPort(in, oob)
		received := time.Now()
		switch {
		case err == nil:
			c.answer(w, in[:n], out[:0:maxAnswer], oob[:oobn], from, received)
		case errors.Is(err, net.ErrClosed):
			return
		case w.l.phase.Load() < sweeping:
			w.l.readFailed(err)
			time.Sleep(time.Millisecond)
		}
	}
}

// losses implements packetConn. There is no portable way to know.
func (c *portableConn) losses() losses { return losses{} }

func (c *portableConn) shield(*limit.Shield) error { return errors.ErrUnsupported }

func (c *portableConn) answer(w *worker, msg, dst, oob []byte, from netip.AddrPort, received time.Time) {
	client := from.Addr().Unmap().WithZone("")
	ans, o, waits := w.answer(dst, msg, len(msg) > maxQuery, client, received)
	if waits {
		if j := w.roomyJob(); j != nil {
			p, ok := j.path.(*portablePath)
			if !ok {
				p = new(portablePath)
				j.path = p
			}
			p.sock, p.to = c, from
			p.oob = append(p.oob[:0], c.source(oob)...)
			w.l.jobs.start(j)
			return
		}
		ans, o = w.refuse(dst)
	}
	elapsed := time.Since(received)
	if len(ans) > 0 {
		if _, _, err := c.WriteMsgUDPAddrPort(ans, c.source(oob), from); err != nil {
			w.l.sendFailed(err, 1)
		}
	}
	w.counters.Observe(&w.q, o, elapsed)
	w.forget()
}

// source makes the control message that answers from the address asked, from
// the one that came with the query; nil leaves the choice to the system.
func (c *portableConn) source(oob []byte) []byte {
	if !c.wildcard || len(oob) == 0 {
		return nil
	}
	if c.v6 {
		var m ipv6.ControlMessage
		if m.Parse(oob) != nil || m.Dst == nil || m.Dst.IsMulticast() {
			return nil
		}
		answer := ipv6.ControlMessage{Src: m.Dst}
		if m.Dst.IsLinkLocalUnicast() {
			answer.IfIndex = m.IfIndex
		}
		return answer.Marshal()
	}
	if strings.HasSuffix(runtime.GOOS, "bsd") || runtime.GOOS == "dragonfly" {
		// IP_RECVDSTADDR came, in the form in which IP_SENDSRCADDR, the same
		// number, takes it.
		return oob
	}
	var m ipv4.ControlMessage
	if m.Parse(oob) != nil || m.Dst == nil || m.Dst.IsMulticast() || m.Dst.Equal(net.IPv4bcast) {
		return nil
	}
	return (&ipv4.ControlMessage{Src: m.Dst}).Marshal()
}

// portablePath sends one answer from a job.
type portablePath struct {
	sock *portableConn
	to   netip.AddrPort
	oob  []byte
}

func (p *portablePath) reply(ans []byte) error {
	_, _, err := p.sock.WriteMsgUDPAddrPort(ans, p.oob, p.to)
	return err
}
