package mux

import (
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"rideau/resolver/upstream/acceptance"
)

// serverOf returns the entry of a server, with a port that is good for one more
// query; nil if the server is to be asked in another way.
func (x *Mux) serverOf(e *acceptance.Endpoint, now time.Time) *server {
	if !e.ByDatagram() {
		return nil
	}
	s := x.find(e)
	if !x.ready(s, now) {
		return nil
	}
	return s
}

// find finds or makes the entry of a server.
func (x *Mux) find(e *acceptance.Endpoint) *server {
	for _, s := range x.servers {
		if s.endpoint == e {
			return s
		}
	}
	s := &server{endpoint: e, addr: newSockaddr(e.Addr())}
	x.servers = append(x.servers, s)
	return s
}

// ready sees to it that the server has a port that may send one more query.
func (x *Mux) ready(s *server, now time.Time) bool {
	limit := s.count(now)
	if p := s.current; p != nil && (p.uses >= limit || now.Sub(p.born) >= portAge) {
		if s.n > 0 {
			x.send(s)
		}
		x.retire(p)
	}
	if s.current == nil {
		s.current = x.open(s, now)
	}
	return s.current != nil
}

// open opens a socket; it returns nil on failure. The exchange is then made in
// another way, which reports the error.
func (x *Mux) open(s *server, now time.Time) *port {
	family := unix.AF_INET
	if _, is6 := s.addr.(*unix.SockaddrInet6); is6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return nil
	}
	// Bursts of a batch of queries come back as bursts.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20)
	tag := 0
	for tag < len(x.ports) && x.ports[tag] != nil {
		tag++
	}
	if tag == len(x.ports) {
		x.ports = append(x.ports, nil)
	}
	if tag >= 1<<16 || unix.Connect(fd, s.addr) != nil || x.poller.Add(fd, x.tags+uint32(tag)) != nil {
		unix.Close(fd)
		return nil
	}
	p := x.spare
	if x.spare = nil; p == nil {
		p = new(port)
	}
	*p = port{s: s, fd: fd, tag: uint32(tag), born: now}
	x.ports[tag] = p
	return p
}

// sockaddr is an address as the system wants it.
type sockaddr = unix.Sockaddr

func newSockaddr(a netip.AddrPort) sockaddr {
	ip := a.Addr().Unmap()
	if ip.Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: ip.As16(), ZoneId: zoneID(ip.Zone())}
}

// zoneID is the index of an interface by its name or number; 0 for none.
func zoneID(zone string) uint32 {
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(n)
}

// retire ends the use of a port for sending. It is closed when no call is
// pending there.
func (x *Mux) retire(p *port) {
	if p.retired {
		return
	}
	p.retired = true
	if p.s.current == p {
		p.s.current = nil
	}
	if p.pending == 0 {
		x.close(p)
	}
}

func (x *Mux) close(p *port) {
	unix.Close(p.fd)
	x.ports[p.tag] = nil
	x.spare = p
}
