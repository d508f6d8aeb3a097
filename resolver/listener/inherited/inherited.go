// Package inherited has the sockets that a process was started with, because another
// process has bound them: systemd, by socket activation, or the one before, by the
// store of file descriptors of systemd.
package inherited

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
)

// Sockets are bound sockets, by their addresses. It is safe for concurrent use. A nil
// Sockets has none.
type Sockets struct {
	mu  sync.Mutex
	all []socket // guarded by mu
}

// Socket says what a socket is.
type Socket struct {
	Name    string // that its file had
	Network string // udp or tcp
	Addr    netip.AddrPort
}

type socket struct {
	Socket
	file *os.File
}

// New makes Sockets of files, which it owns. problems says which of them are no sockets
// for DNS; those are closed.
func New(files []*os.File) (s *Sockets, problems []error) {
	s = new(Sockets)
	for _, f := range files {
		k, err := identify(f)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", f.Name(), err))
			f.Close()
			continue
		}
		s.all = append(s.all, socket{k, f})
	}
	return s, problems
}

var errKind = errors.New("it is neither a UDP socket nor a TCP socket that listens")

// identify says what the socket of a file is.
func identify(f *os.File) (Socket, error) {
	if l, err := net.FileListener(f); err == nil {
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // its file is another's
		}
		defer l.Close()
		if tcp, ok := l.(*net.TCPListener); ok {
			return Socket{f.Name(), "tcp", plain(tcp.Addr().(*net.TCPAddr).AddrPort())}, usable(tcp, true)
		}
		return Socket{}, errKind
	}
	c, err := net.FilePacketConn(f)
	if err != nil {
		return Socket{}, errKind
	}
	defer c.Close()
	if udp, ok := c.(*net.UDPConn); ok {
		return Socket{f.Name(), "udp", plain(udp.LocalAddr().(*net.UDPAddr).AddrPort())}, usable(udp, false)
	}
	return Socket{}, errKind
}

func plain(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// UDP returns the UDP sockets that are bound to an address. The caller owns what it gets;
// s keeps the sockets, too.
func (s *Sockets) UDP(a netip.AddrPort) (out []*net.UDPConn, err error) {
	for _, f := range s.files("udp", a) {
		c, err := net.FilePacketConn(f)
		if err != nil {
			return out, err
		}
		out = append(out, c.(*net.UDPConn))
	}
	return out, nil
}

// TCP is UDP for the sockets that listen.
func (s *Sockets) TCP(a netip.AddrPort) (out []*net.TCPListener, err error) {
	for _, f := range s.files("tcp", a) {
		l, err := net.FileListener(f)
		if err != nil {
			return out, err
		}
		out = append(out, l.(*net.TCPListener))
	}
	return out, nil
}

func (s *Sockets) files(network string, a netip.AddrPort) (out []*os.File) {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.all {
		if k.Network == network && k.Addr == a {
			out = append(out, k.file)
		}
	}
	return out
}

// All returns what sockets s has.
func (s *Sockets) All() (out []Socket) {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.all {
		out = append(out, k.Socket)
	}
	return out
}

// Close closes the sockets for which which is true; what UDP and TCP have returned stays
// open.
func (s *Sockets) Close(which func(Socket) bool) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = slices.DeleteFunc(s.all, func(k socket) bool {
		gone := which(k.Socket)
		if gone {
			k.file.Close()
		}
		return gone
	})
}
