package listener

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"rideau/resolver/listener/inherited"
)

// BindTCP binds an address over TCP, for a server beside the Listeners. With share,
// others of this process or user may have it already; in any case they may bind it
// later. A socket of taken that has the address is used in place of a new one.
func BindTCP(a netip.AddrPort, share bool, taken *inherited.Sockets) (*net.TCPListener, error) {
	all, err := taken.TCP(a)
	for _, more := range all[min(len(all), 1):] {
		more.Close()
	}
	if err != nil {
		return nil, bindError(err, "tcp", a)
	}
	if len(all) > 0 {
		openToSharing(all[0]) // best effort: another user may have made it
		return all[0], nil
	}
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
func BindUDP(a netip.AddrPort, share bool, taken *inherited.Sockets) (*net.UDPConn, error) {
	all, err := taken.UDP(a)
	for _, more := range all[min(len(all), 1):] {
		more.Close()
	}
	if err != nil {
		return nil, bindError(err, "udp", a)
	}
	if len(all) > 0 {
		return all[0], reopen(all[0])
	}
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
