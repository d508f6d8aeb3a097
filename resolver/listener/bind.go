package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"rideau/resolver/listener/datagram"
)

// bind opens the sockets of all addresses. If it fails, the caller closes those
// that are in l.
func (l *Listener) bind() error {
	if len(l.o.Addrs) == 0 {
		return errors.New("no address to listen on")
	}
	for _, s := range l.o.Addrs {
		if err := l.bindAddr(s); err != nil {
			return err
		}
	}
	return nil
}

// bindAddr opens the sockets of one of Options.Addrs. If the kernel chose a port
// that is not free for all of them, it tries again.
func (l *Listener) bindAddr(s string) error {
	targets, err := parseAddr(s)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		g := group{l: l}
		err := g.open(targets)
		if err == nil {
			l.udp = append(l.udp, g.udp...)
			l.tcp = append(l.tcp, g.tcp...)
			l.addrs = append(l.addrs, g.addrs...)
			return nil
		}
		g.close()
		if try == 16 || targets[0].addr.Port() != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
}

// target is an address to bind.
type target struct {
	addr netip.AddrPort
	// optional: the host may have no address of this family.
	optional bool
}

func (t target) network(transport string) string {
	if t.addr.Addr().Is4() {
		return transport + "4"
	}
	return transport + "6" // by which package net sets IPV6_V6ONLY
}

func parseAddr(s string) ([]target, error) {
	if port, ok := strings.CutPrefix(s, ":"); ok {
		v4, err := netip.ParseAddrPort("0.0.0.0:" + port)
		if err != nil {
			return nil, fmt.Errorf("address %q: the port is no number from 0 to 65535", s)
		}
		v6 := netip.AddrPortFrom(netip.IPv6Unspecified(), v4.Port())
		return []target{{addr: v4}, {addr: v6, optional: true}}, nil
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, fmt.Errorf("address %q: write IP:PORT, [IPv6]:PORT, or :PORT for all addresses", s)
	}
	return []target{{addr: netip.AddrPortFrom(a.Addr().Unmap(), a.Port())}}, nil
}

// group is the sockets of one address of the configuration.
type group struct {
	l     *Listener
	udp   []*datagram.Worker
	tcp   []*net.TCPListener
	addrs []netip.AddrPort
}

func (g *group) close() {
	for _, t := range g.tcp {
		t.Close()
	}
	for _, u := range g.udp {
		u.Close()
	}
}

func (g *group) open(targets []target) error {
	port := targets[0].addr.Port()
	for _, t := range targets {
		t.addr = netip.AddrPortFrom(t.addr.Addr(), port)
		bound, err := g.openTarget(t)
		if t.optional && noFamily(err) {
			g.l.o.Logger.Info("not listening on an address: this host has no IPv6", "addr", t.addr.String())
			continue
		}
		if err != nil {
			return err
		}
		g.addrs = append(g.addrs, bound)
		port = bound.Port()
	}
	return nil
}

func noFamily(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL) ||
		errors.Is(err, syscall.EPROTONOSUPPORT)
}

// openTarget opens TCP first: only one process can have the address for TCP,
// unless told to share it, so that this decides who has it.
func (g *group) openTarget(t target) (netip.AddrPort, error) {
	port, err := g.openTCP(t)
	if err != nil {
		return t.addr, bindError(err, "tcp", t.addr)
	}
	t.addr = netip.AddrPortFrom(t.addr.Addr(), port)

	if g.l.o.TLS != nil {
		return t.addr, nil
	}
	taken, err := g.l.o.Inherited.UDP(t.addr)
	if err != nil {
		return t.addr, bindError(err, "udp", t.addr)
	}
	workers, err := g.l.openUDP(t, taken)
	g.udp = append(g.udp, workers...)
	if err != nil {
		return t.addr, bindError(err, "udp", t.addr)
	}
	return t.addr, nil
}

// openTCP takes the sockets that are bound to an address, or binds one, and returns its
// port.
func (g *group) openTCP(t target) (port uint16, err error) {
	taken, err := g.l.o.Inherited.TCP(t.addr)
	g.tcp = append(g.tcp, taken...)
	if err != nil {
		return 0, err
	}
	if len(taken) > 0 {
		for _, tcp := range taken {
			// Best effort, so that a reload can bind an address that includes this one.
			openToSharing(tcp)
		}
		return t.addr.Port(), nil
	}
	lc := net.ListenConfig{
		Control:   func(_, _ string, c syscall.RawConn) error { return prepareTCP(c, g.l.o.ReusePort) },
		KeepAlive: -1, // idle connections are closed long before
	}
	lc.SetMultipathTCP(false)
	tl, err := lc.Listen(context.Background(), t.network("tcp"), t.addr.String())
	if err != nil {
		return 0, err
	}
	tcp := tl.(*net.TCPListener)
	g.tcp = append(g.tcp, tcp)
	return tcp.Addr().(*net.TCPAddr).AddrPort().Port(), openToSharing(tcp)
}

// openPortable opens one socket for all workers at one address, or uses those that were
// taken, which it owns.
func (l *Listener) openPortable(t target, taken []*net.UDPConn) ([]*datagram.Worker, error) {
	var all []*datagram.Worker
	for i, c := range taken {
		// All workers read the first one. Clients reach the others no less.
		n := 1
		if i == 0 {
			n = l.o.Workers
		}
		all = append(all, datagram.NewPortable(c, n, l.core, l.o.Logger)...)
	}
	if len(all) > 0 {
		return all, nil
	}
	if l.o.ReusePort {
		return nil, errors.New("addresses cannot be shared (reuse port) with portable sockets")
	}
	c, err := listenUDP(t, nil)
	if err != nil {
		return nil, err
	}
	// Best effort: the system has its own limits.
	c.SetReadBuffer(socketBuffer)
	c.SetWriteBuffer(socketBuffer)
	return datagram.NewPortable(c, l.o.Workers, l.core, l.o.Logger), nil
}

func listenUDP(t target, control func(network, address string, c syscall.RawConn) error) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: control}
	c, err := lc.ListenPacket(context.Background(), t.network("udp"), t.addr.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// socketBuffer is the size of a socket's buffer: it holds a burst of some 5,000
// queries, as the kernel counts.
const socketBuffer = 4 << 20

// Try reports whether an address can be served: it binds the address for TCP and UDP, and closes it at once. The error is
// that of [Listen].
func Try(addr netip.AddrPort) error {
	if err := TryTCP(addr); err != nil {
		return err
	}
	return TryUDP(addr)
}

// TryTCP is Try for TCP alone.
func TryTCP(addr netip.AddrPort) error {
	t := target{addr: netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return prepareTCP(c, false) }}
	tcp, err := lc.Listen(context.Background(), t.network("tcp"), t.addr.String())
	if err != nil {
		return bindError(err, "tcp", t.addr)
	}
	return tcp.Close()
}

// TryUDP is Try for UDP alone.
func TryUDP(addr netip.AddrPort) error {
	t := target{addr: netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())}
	udp, err := listenUDP(t, nil)
	if err != nil {
		return bindError(err, "udp", t.addr)
	}
	return udp.Close()
}

// bindError says what to do about the usual failures of starting.
func bindError(err error, transport string, addr netip.AddrPort) error {
	remedy := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		remedy = fmt.Sprintf("; another server has it (see: ss -lnp 'sport = :%d'): stop that, or choose another address", addr.Port())
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		remedy = fmt.Sprintf("; ports below 1024 need CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE; a file: setcap cap_net_bind_service=+ep) or sysctl net.ipv4.ip_unprivileged_port_start=%d", addr.Port())
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		remedy = "; no interface of this host has this address"
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // the rest repeats what is said here
	}
	return fmt.Errorf("listen on %s %s: %w%s", transport, addr, err, remedy)
}
