package datagram

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"rideau/resolver/limit"
	"rideau/resolver/listener/session"
)

// portableConn is a UDP socket that is used by the calls that every system has.
// All workers share it. It has no buffers: a datagram lies in those of the
// goroutine that read it.
type portableConn struct {
	*net.UDPConn
	wildcard bool // responses have to leave from the address that was asked
	v6       bool
	local    netip.AddrPort // what is bound
}

// oobLen is the capacity for control messages, those included that systems send
// unasked.
const oobLen = 128

// NewPortable makes n workers that share c.
func NewPortable(c *net.UDPConn, n int, core *session.Core, log *slog.Logger) []*Worker {
	local := c.LocalAddr().(*net.UDPAddr).AddrPort()
	a := local.Addr()
	p := &portableConn{UDPConn: c, wildcard: a.IsUnspecified(), v6: a.Is6() && !a.Is4In6(),
		local: netip.AddrPortFrom(a.Unmap().WithZone(""), local.Port())}
	if err := p.askForDestinations(); err != nil {
		// Windows. Where a host has several addresses, responses may leave from
		// another than the one that was asked, and clients drop them.
		p.wildcard = false
		log.Warn("this system does not say to which address a query was sent; if the host has several addresses, listen on each of them",
			"addr", a.String(), "error", err.Error())
	}
	workers := make([]*Worker, n)
	for i := range workers {
		workers[i] = &Worker{core: core, sock: p}
	}
	return workers
}

// askForDestinations has the system say to which address each datagram was
// sent, where that may be any of the host's.
func (c *portableConn) askForDestinations() error {
	switch {
	case !c.wildcard:
		return nil
	case c.v6:
		return ipv6.NewPacketConn(c).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
	}
	return ipv4.NewPacketConn(c).SetControlMessage(ipv4.FlagDst, true)
}

func (c *portableConn) detach() error { return nil }

func (c *portableConn) descriptor(f func(a netip.AddrPort, fd int) error) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := rc.Control(func(fd uintptr) { err = f(c.local, int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

func (c *portableConn) interrupt() { c.SetReadDeadline(time.Unix(1, 0)) }

// losses implements socket. There is no portable way to know.
func (c *portableConn) losses() losses { return losses{} }

func (c *portableConn) shield(*limit.Shield) error { return errors.ErrUnsupported }

func (c *portableConn) serve(w *Worker) {
	in, out := make([]byte, maxQuery+1), make([]byte, maxAnswer)
	oob := make([]byte, oobLen)
	for w.core.Phase() < session.Sweeping {
		n, oobn, _, from, err := c.ReadMsgUDPAddrPort(in, oob)
		received := time.Now()
		switch {
		case err == nil:
			c.answer(w, in[:n], out[:0:maxAnswer], oob[:oobn], from, received)
		case errors.Is(err, net.ErrClosed):
			return
		case w.core.Phase() < session.Sweeping:
			w.core.ReadFailed(err)
			time.Sleep(time.Millisecond)
		}
	}
}

// answer answers one datagram, or has its query wait as a job.
func (c *portableConn) answer(w *Worker, msg, dst, oob []byte, from netip.AddrPort, received time.Time) {
	client := from.Addr().Unmap().WithZone("")
	unanswered := !asked(from.Port()) || from.Port() == c.local.Port() && client == c.local.Addr()
	ans, waits := w.answer(dst, msg, len(msg) > maxQuery, unanswered, client, received)
	if waits {
		if j := w.AdmitJob(); j != nil {
			j.Start(c.path(j, oob, from))
			return
		}
		ans = w.Shed(dst)
	}
	w.Count()
	if len(ans) > 0 {
		if _, _, err := c.WriteMsgUDPAddrPort(ans, c.source(oob), from); err != nil {
			w.core.SendFailed(err)
		}
	}
	w.Forget()
}

// source makes the control message that sends the response from the address
// that was asked, of the one that came with the query; nil leaves the choice to
// the system.
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

// portablePath is the way back to the sender of a datagram whose query waits.
type portablePath struct {
	sock *portableConn
	to   netip.AddrPort
	oob  []byte
}

// path returns the way back for j, in the memory that j keeps for it.
func (c *portableConn) path(j *session.Job, oob []byte, to netip.AddrPort) *portablePath {
	p, ok := j.Kept.(*portablePath)
	if !ok {
		p = new(portablePath)
		j.Kept = p
	}
	p.sock, p.to = c, to
	p.oob = append(p.oob[:0], c.source(oob)...)
	return p
}

// Reply implements session.Path.
func (p *portablePath) Reply(framed []byte) error {
	if framed == nil {
		return nil
	}
	_, _, err := p.sock.WriteMsgUDPAddrPort(framed[session.LengthLen:], p.oob, p.to)
	return err
}
