package listener

import (
	"context"
	"net"
	"net/netip"
	"syscall"
)

// BindTCP binds an address over TCP, for a server beside the Listeners. With share,
// others of this process or user may have it already; in any case they may bind it
// later.
func BindTCP(a netip.AddrPort, share bool) (*net.TCPListener, error) {
	lc := net.ListenConfig{
		Control:   func(_, _ string, c syscall.RawConn) error { return prepareTCP(c, share) },
		KeepAlive: -1, // idle connections are closed long before
	}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), target{addr: a}.network("tcp"), a.String())
	if err != nil {
		return nil, bindError(err, "tcp", a)
	}
	tcp := l.(*net.TCPListener)
	if err := openToSharing(tcp); err != nil {
		tcp.Close()
		return nil, bindError(err, "tcp", a)
	}
	return tcp, nil
}

// BindUDP is BindTCP over UDP, for one socket.
func BindUDP(a netip.AddrPort, share bool) (*net.UDPConn, error) {
	c, err := listenUDP(target{addr: a}, func(_, _ string, rc syscall.RawConn) error { return shareUDP(rc, share) })
	if err != nil {
		return nil, bindError(err, "udp", a)
	}
	if err := openToSharing(c); err != nil {
		c.Close()
		return nil, bindError(err, "udp", a)
	}
	// Best effort: the system has its own limits.
	c.SetReadBuffer(socketBuffer)
	c.SetWriteBuffer(socketBuffer)
	return c, nil
}
