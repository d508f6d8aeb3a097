package stream_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"rideau/resolver/listener/stream"
)

// ended reports whether the server has closed a connection.
func ended(c net.Conn) bool {
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	defer c.SetReadDeadline(time.Time{})
	_, err := c.Read(make([]byte, 1))
	return err == io.EOF
}

// Connections that have sent no whole query are closed first, then those that stop half way
// in a message, then idle ones; of these, the ones of a client that has many first.
func TestWhichIsClosed(t *testing.T) {
	half := framed(message(9, 'e'))[:5]
	whole := framed(message(9, 'e'))
	for name, c := range map[string]struct {
		hostile [][]byte // what each connection of a hostile client sends, in turn
		clients int
		atOnce  bool // the hostile connections are new
		evicts  bool // for a new connection
		idles   bool // the honest client's idle connection may be closed before
	}{
		"half a message":               {hostile: [][]byte{half}, clients: 4},
		"half a message, just now":     {hostile: [][]byte{half}, clients: 4, atOnce: true},
		"one octet":                    {hostile: [][]byte{half[:1]}, clients: 4},
		"nothing":                      {hostile: [][]byte{nil}, clients: 4},
		"a query, then half a message": {hostile: [][]byte{whole, half}, clients: 4},
		"a query and half a message":   {hostile: [][]byte{append(bytes.Clone(whole), half...)}, clients: 4},
		"a query":                      {hostile: [][]byte{whole}, clients: 4},
		"from many addresses":          {hostile: [][]byte{half}, clients: 64},
		"queries that wait":            {hostile: [][]byte{framed(message(9, 'p'))}, clients: 4, idles: true},
		"one /64 of IPv6":              {hostile: [][]byte{half}, clients: -4},
		"queries that wait, of one":    {hostile: [][]byte{framed(message(9, 'p'))}, clients: 1, idles: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const places = 65
				s := newServer(t, places, places)
				defer s.end()
				defer close(s.h.release)
				var conns []net.Conn
				defer func() {
					for _, c := range conns {
						c.Close()
					}
				}()
				// An honest client has asked, and keeps its connection.
				honest := s.connect("192.0.2.200")
				conns = append(conns, honest)
				go honest.Write(whole)
				receive(t, honest)
				if !c.atOnce {
					time.Sleep(time.Second)
				}
				for i := range places - 1 {
					from := fmt.Sprintf("198.51.100.%d", i%max(c.clients, 1))
					if c.clients < 0 {
						from = fmt.Sprintf("2001:db8:0:%d::%d", i%-c.clients, i)
					}
					h := s.connect(from)
					conns = append(conns, h)
					for _, m := range c.hostile {
						h.Write(m)
						synctest.Wait()
						if len(m) >= len(whole) && m[len(whole)-1] == 'e' {
							receive(t, h)
						}
					}
				}
				if !c.atOnce {
					time.Sleep(time.Second)
				}
				if n := s.Connections(); n != places {
					t.Fatalf("%d connections", n)
				}
				// Others come: each is answered, and the first keeps its connection.
				for i := range 10 {
					o := s.connect(fmt.Sprintf("192.0.2.%d", i))
					conns = append(conns, o)
					if ended(o) {
						t.Fatalf("connection %d ended", i)
					}
					go o.Write(whole)
					receive(t, o)
				}
				if !c.idles && ended(honest) {
					t.Error("the honest client's connection was closed")
				}
			})
		})
	}
}

// What clients do not read is bounded, for one and for all, over all Servers with one
// Table; clients that read are answered meanwhile.
func TestUnread(t *testing.T) {
	big := make([]byte, 60000)
	binary.BigEndian.PutUint16(big, 7)
	big[12] = 'e'
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for _, c := range []struct {
		name          string
		clients, each int
		servers       int
		most          uint64 // octets; the messages to send are the test's
	}{{"one client", 1, 200, 1, 6 << 20}, {"hundreds", 400, 1, 1, 40 << 20}, {"one client, five servers", 1, 200, 5, 6 << 20}, {"hundreds, five servers", 400, 1, 5, 40 << 20}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := stream.NewTable(stream.Limits{MaxConnections: 1000, MaxConnectionsPerClient: 1000})
				var all []*server
				for range c.servers {
					s := newServer(t, 0, 0, func(o *stream.Options) { o.Table = table })
					defer s.end()
					all = append(all, s)
				}
				before := heap()
				var conns []net.Conn
				defer func() {
					for _, c := range conns {
						c.Close()
					}
				}()
				msg := framed(big)
				for i := range c.clients * c.each {
					h := all[i%len(all)].connect(fmt.Sprintf("10.0.%d.%d", i%c.clients/250, i%c.clients%250))
					conns = append(conns, h)
					go h.Write(msg)
					synctest.Wait()
					if i%20 == 0 {
						time.Sleep(10 * time.Millisecond)
					}
				}
				if used := heap() - before; used > c.most {
					t.Errorf("%d MiB are held", used>>20)
				}
				for _, s := range all {
					o := s.connect("192.0.2.1")
					conns = append(conns, o)
					for range 10 {
						go o.Write(framed(message(1, 'e')))
						receive(t, o)
					}
				}
			})
		})
	}
}
