package resolvertest

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"testing"
)

// FreePort finds a port of a host that is free for UDP and TCP, for a server that is
// bound later, or again. It is below those that systems choose for sockets that name
// none: one of those would be taken by any connection or query of this machine before
// it is used.
func FreePort(host string) (int, error) {
	const first, end = 10000, 32768
	var last error
	for range 100 {
		port := first + rand.IntN(end-first)
		addr := net.JoinHostPort(host, strconv.Itoa(port))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			last = err
			continue
		}
		pc, err := net.ListenPacket("udp", addr)
		l.Close()
		if err == nil {
			pc.Close()
			return port, nil
		}
		last = err
	}
	return 0, last
}

// FreeAddress is 127.0.0.1 with a port from FreePort.
func FreeAddress(t testing.TB) netip.AddrPort {
	t.Helper()
	port, err := FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
}
