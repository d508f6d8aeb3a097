package upstream

import (
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// server finds or makes the entry of a server.
func (x *Mux) server(u *Do53) *server {
	for _, s := range x.servers {
		if s.up == u {
			return s
		}
	}
	s := &server{up: u, addr: sockaddr(u.udp.AddrPort())}
	x.servers = append(x.servers, s)
	return s
}

// ready sees to it that the server has a port to send one more query from.
func (x *Mux) ready(s *server, now time.Time) bool {
	limit := s.count(now)
	if p := s.now; p != nil && (p.uses >= limit || now.Sub(p.born) >= portAge) {
		if s.n > 0 {
			x.send(s)
		}
		x.retire(p)
	}
	if s.now == nil {
		s.now = x.open(s, now)
	}
	return s.now != nil
}

// open opens a socket; nil if it cannot be had, and then the slow way may say
// why.
func (x *Mux) open(s *server, now time.Time) *port {
	family := unix.AF_INET
	if _, ok := s.addr.(*unix.SockaddrInet6); ok {
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
	if tag >= 1<<16 || unix.Connect(fd, s.addr.(unix.Sockaddr)) != nil || x.poller.Add(fd, x.tags+uint32(tag)) != nil {
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

func sockaddr(a netip.AddrPort) unix.Sockaddr {
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

// retire has a port send no more. It is closed when nothing is waited for
// there.
func (x *Mux) retire(p *port) {
	if p.retired {
		return
	}
	p.retired = true
	if p.s.now == p {
		p.s.now = nil
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
