package listener_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"rideau/resolver/listener"
)

// BenchmarkUDP compares the ways UDP is served with the least that package net
// can do: one goroutine that reads a datagram and writes it back. The client, in
// the same process, keeps a window of queries under way; its cost is in all
// figures.
func BenchmarkUDP(b *testing.B) {
	for _, window := range []int{1, 32} {
		name := map[int]string{1: "window=1", 32: "window=32"}[window]
		b.Run("native/"+name, func(b *testing.B) {
			benchmarkServer(b, listener.Options{Workers: 1}, window)
		})
		b.Run("wildcard/"+name, func(b *testing.B) {
			benchmarkServer(b, listener.Options{Workers: 1, Addrs: []string{"0.0.0.0:0"}}, window)
		})
		b.Run("portable/"+name, func(b *testing.B) {
			benchmarkServer(b, listener.Options{Workers: 1, Portable: true}, window)
		})
		b.Run("echo/"+name, func(b *testing.B) {
			c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			go func() {
				m := make([]byte, 4096)
				for {
					n, from, err := c.ReadFromUDPAddrPort(m)
					if err != nil {
						return
					}
					c.WriteToUDPAddrPort(m[:n], from)
				}
			}()
			exchange(b, dial(b, "udp", c.LocalAddr().(*net.UDPAddr).AddrPort()), window)
		})
	}
}

// BenchmarkTCP is a client that sends so many queries with one write and reads
// the responses before it sends more. Its own cost is in the figures.
func BenchmarkTCP(b *testing.B) {
	for _, n := range []int{1, 32, 100} {
		b.Run(fmt.Sprintf("pipelined=%d", n), func(b *testing.B) {
			s := serve(b, settler{newFake()}, listener.Options{})
			c := dial(b, "tcp", s.Addr())
			burst := bytes.Repeat(framed(query(1, settle, "www.example.net. IN AAAA")), n)
			answers := make([]byte, len(burst))
			b.ReportAllocs()
			for b.Loop() {
				c.SetDeadline(time.Now().Add(15 * time.Second))
				c.Write(burst)
				if _, err := io.ReadFull(c, answers); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/query")
		})
	}
}

// BenchmarkTCPConnection is a client that connects for each query.
func BenchmarkTCPConnection(b *testing.B) {
	s := serve(b, settler{newFake()}, listener.Options{})
	q := framed(query(1, settle, "www.example.net. IN AAAA"))
	answer := make([]byte, len(q))
	b.ReportAllocs()
	for b.Loop() {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(15 * time.Second))
		c.Write(q)
		if _, err := io.ReadFull(c, answer); err != nil {
			b.Fatal(err)
		}
		c.(*net.TCPConn).SetLinger(0) // leaves no port in TIME-WAIT
		c.Close()
	}
}

// BenchmarkTCPIdle is the memory of a connection that has had one query and is
// idle, with the client's end in the same process.
func BenchmarkTCPIdle(b *testing.B) {
	const n = 200
	s := serve(b, settler{newFake()}, listener.Options{MaxConnectionsPerClient: n})
	q := framed(query(1, settle, "www.example.net. IN AAAA"))
	answer := make([]byte, len(q))
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // stacks shrink in one and are freed in the next
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	var total uint64
	for b.Loop() {
		before := inUse()
		open := make([]net.Conn, n)
		for i := range open {
			c, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			open[i] = c
			c.SetDeadline(time.Now().Add(15 * time.Second))
			c.Write(q)
			if _, err := io.ReadFull(c, answer); err != nil {
				b.Fatal(err)
			}
		}
		total += inUse() - before
		for _, c := range open {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
		for s.Stats().Connections > 0 {
			time.Sleep(time.Millisecond)
		}
	}
	b.ReportMetric(float64(total)/float64(b.N*n), "B/connection")
}

func benchmarkServer(b *testing.B, o listener.Options, window int) {
	s := serve(b, settler{newFake()}, o)
	to := s.Addr()
	if to.Addr().IsUnspecified() {
		to = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), to.Port())
	}
	exchange(b, dial(b, "udp", to), window)
}

func exchange(b *testing.B, u net.Conn, window int) {
	q, a := query(1, settle, "www.example.net. IN AAAA"), make([]byte, 512)
	for b.Loop() {
		for range window {
			u.Write(q)
		}
		for range window {
			if _, err := u.Read(a); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*window), "ns/query")
}
