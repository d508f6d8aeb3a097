package stream

import (
	"net"
	"time"

	"rideau/resolver"
	"rideau/resolver/listener/proxied"
)

// relayed is a connection that a proxy has made for a client.
type relayed struct {
	streamConn
	client net.Addr
}

// streamConn is a Stream by TCP, which Options.Wrap takes.
type streamConn interface {
	Stream
	net.Conn
}

// RemoteAddr implements Stream.
func (r *relayed) RemoteAddr() net.Addr { return r.client }

// maxHeaders is how many connections of proxies may be without a header at a time.
const maxHeaders = 1024

// acceptProxied reads the header of a connection of a proxy, and then serves the connection as that of the client. It does not wait. A
// connection without a header, or with one that does not come in time, is closed.
func (s *Server) acceptProxied(tc *net.TCPConn, counters *resolver.Counters) {
	if s.headers.Add(1) > maxHeaders {
		s.headers.Add(-1)
		s.count.refused.Add(1)
		tc.SetLinger(0)
		tc.Close()
		return
	}
	go func() {
		defer s.headers.Add(-1)
		tc.SetReadDeadline(time.Now().Add(s.o.MessageTimeout))
		via := tc.RemoteAddr().(*net.TCPAddr).AddrPort()
		client, err := proxied.Read(tc, via.Addr())
		if err != nil {
			s.core.ProxyFailed(err)
			tc.Close()
			return
		}
		tc.SetReadDeadline(time.Time{})
		st, ok := fromTCP(tc, s.o.WriteTimeout).(streamConn)
		if !ok {
			tc.Close()
			return
		}
		s.begin(tc, &relayed{st, &net.TCPAddr{IP: client.AsSlice(), Port: int(via.Port())}}, counters)
	}()
}
