package resolvertest

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver"
	"rideau/resolver/listener"
	"rideau/resolver/listener/session"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/do53"
	"rideau/resolver/wire"
)

// direct is a handler that gives every query the client and the time of a run.
type direct struct{ r *run }

func (d direct) as(q *resolver.Query, do func() ([]byte, resolver.Outcome)) ([]byte, resolver.Outcome) {
	was := *q
	q.Client, q.Received = netip.MustParseAddr("10.1.0.1"), d.r.clock.Now()
	out, o := do()
	q.Client, q.Received = was.Client, was.Received
	return out, o
}

// Answer implements session.Handler.
func (d direct) Answer(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	return d.as(q, func() ([]byte, resolver.Outcome) { return d.r.resolver.Answer(dst, q) })
}

// Resolve implements session.Handler.
func (d direct) Resolve(ctx context.Context, dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	return d.as(q, func() ([]byte, resolver.Outcome) { return d.r.resolver.Resolve(ctx, dst, q) })
}

// Shed implements session.Handler.
func (d direct) Shed(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	return d.r.resolver.Shed(dst, q)
}

// serve runs a listener until the test ends.
func serve(t testing.TB, h session.Handler) string {
	l, err := listener.Listen(h, listener.Options{Addrs: []string{"127.0.0.1:0"}, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- l.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("listener: %v", err)
		}
	})
	return l.Addr().String()
}

const patience = 20 * time.Second // for what must come, on a machine under load

// FuzzQueriesBySockets sends arbitrary octets by UDP and by TCP, and a query
// behind them. The query is answered in any case. What is answered to the octets
// can be read, has their id, and has nothing in it that is banned.
func FuzzQueriesBySockets(f *testing.F) {
	for _, name := range []string{"wechat.com.", "ok.wechat.com.", "localhost.", "www.example.org."} {
		m := new(dns.Msg).SetQuestion(name, dns.TypeA)
		m.SetEdns0(1232, true)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"})
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0})
	r := newRun(f, "fuzz", []byte(fuzzScenario))
	st, err := resolver.NewState(resolver.StateOptions{Policy: r.snapshot, Clients: r.policy.clients, UDPSize: r.policy.udpSize})
	if err != nil {
		f.Fatal(err)
	}
	r.resolver.SetState(st) // without an upstream
	addr := serve(f, direct{r})
	last := new(dns.Msg).SetQuestion("last.wechat.com.", dns.TypeA)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 || len(data) > 60_000 {
			return
		}
		last.Id = 1
		if len(data) >= 2 {
			last.Id = ^binary.BigEndian.Uint16(data)
		}
		sentinel, err := last.Pack()
		if err != nil {
			t.Fatal(err)
		}
		for _, network := range []string{"udp", "tcp"} {
			conn, err := net.Dial(network, addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			if tcp, ok := conn.(*net.TCPConn); ok {
				tcp.SetLinger(0) // no port waits
				conn.Write(append(frame(slices.Clone(data)), frame(slices.Clone(sentinel))...))
			} else {
				conn.Write(data)
				conn.Write(sentinel)
			}
			buf := make([]byte, 65535)
			for n := 0; ; n++ {
				var out []byte
				if network == "tcp" {
					out = readFrame(conn)
				} else {
					k, err := conn.Read(buf)
					if err != nil {
						t.Fatalf("the query behind is not answered: %v", err)
					}
					out = buf[:k]
				}
				if len(out) == 0 {
					break // the connection was closed
				}
				m := new(dns.Msg)
				if err := m.Unpack(out); err != nil {
					t.Fatalf("%s: %x cannot be read: %v", network, out, err)
				}
				if m.Id == last.Id {
					break
				}
				if n > 0 || len(data) < wire.HeaderLen || m.Id != binary.BigEndian.Uint16(data) || !m.Response || m.Authoritative || m.Zero {
					t.Fatalf("%s: %v", network, m)
				}
				r.t = t
				x := &exchange{sent: data, client: netip.MustParseAddr("10.1.0.1"), msg: m, out: out, model: r.model, answered: r.clock.Now()}
				v := violations{x: x, m: m}
				for _, rr := range append(append(append([]dns.RR{}, m.Answer...), m.Ns...), m.Extra...) {
					if len(m.Question) == 1 {
						v.record(rr, x.outcome)
					}
				}
				for _, err := range v.errs {
					t.Error(err)
				}
			}
		}
	})
}

// rawUpstream answers every query by UDP and TCP with the octets it is given,
// behind the query's id and, unless bare, its question.
type rawUpstream struct {
	mu     sync.Mutex // guards what follows
	counts []byte
	octets []byte
	bare   bool
}

func (u *rawUpstream) set(counts, octets []byte, bare bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.counts, u.octets, u.bare = counts, octets, bare
}

func (u *rawUpstream) reply(query []byte) []byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(query) < wire.HeaderLen || u.bare {
		return append(slices.Clone(query[:min(2, len(query))]), u.octets...)
	}
	end := wire.SkipName(query, wire.HeaderLen) + 4
	out := slices.Clone(query[:end])
	wire.SetFlags(out, wire.FlagQR|wire.FlagRA|uint16(u.counts[0])&0xF)
	for s := wire.Answer; s <= wire.Additional; s++ {
		wire.SetCount(out, s, int(u.counts[s]%8))
	}
	return append(out, u.octets...)
}

// start serves until the test ends.
func (u *rawUpstream) start(t testing.TB) netip.AddrPort {
	pc, l := listen(t)
	t.Cleanup(func() { pc.Close(); l.Close() })
	go func() {
		buf := make([]byte, 65535)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			pc.WriteTo(u.reply(buf[:n]), from)
		}
	}()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for {
					conn.SetDeadline(time.Now().Add(patience))
					query := readFrame(conn)
					if len(query) == 0 {
						return
					}
					if _, err := conn.Write(frame(u.reply(query))); err != nil {
						return
					}
				}
			}()
		}
	}()
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

// FuzzResponsesBySockets lets an upstream answer with arbitrary octets by UDP
// and TCP. What clients get over sockets keeps the rules for all answers, and
// comes in time.
func FuzzResponsesBySockets(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0}, []byte("\xc0\x0c\x00\x05\x00\x01\x00\x00\x01\x00\x00\x0c\x06wechat\x03com\x00"), uint8(0), false)
	f.Add([]byte{0, 1, 0, 0}, []byte("\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x00\x00\x04\xc0\x00\x02\x42"), uint8(0), false)
	f.Add([]byte{0, 1, 0, 0}, []byte("\xc0\x0c\x00\x41\x00\x01\x00\x00\x01\x00\x00\x0b\x00\x01\x00\x00\x04\x00\x04\xc0\x00\x02\x42"), uint8(64), false)
	f.Add([]byte{3, 0, 1, 0}, []byte("\xc0\x10\x00\x06\x00\x01\x00\x00\x01\x00\x00\x16\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x04\x00\x00\x00\x05"), uint8(1), false)
	f.Add([]byte{0, 0, 0, 0}, []byte("\x81\x85\x00\x00\x00\x00\x00\x00\x00\x00"), uint8(0), true)
	r := newRun(f, "fuzz", []byte(zoneScenario()))
	socketFront(r)
	var up rawUpstream
	addr := up.start(f)
	id := uint16(0)
	f.Fuzz(func(t *testing.T, counts, octets []byte, qtype uint8, bare bool) {
		if len(counts) < 4 || len(octets) > 60_000 {
			return
		}
		r.t = t
		up.set(counts, octets, bare)
		g := upstream.NewGroup("raw", upstream.Options{AttemptTimeout: 50 * time.Millisecond, Timeout: 100 * time.Millisecond}, do53.New(addr, do53.Options{}))
		defer g.Close()
		st, err := resolver.NewState(resolver.StateOptions{Policy: r.snapshot, Clients: r.policy.clients, UDPSize: r.policy.udpSize, Upstream: g})
		if err != nil {
			t.Fatal(err)
		}
		r.resolver.SetState(st)
		r.cache.Flush()
		for _, transport := range []resolver.Transport{resolver.UDP, resolver.TCP} {
			m := new(dns.Msg).SetQuestion("wWw.example.org.", uint16(qtype)+1)
			id++
			m.Id = id
			m.SetEdns0(4096, qtype&1 != 0)
			sent, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			x := &exchange{sent: sent, query: m, client: netip.MustParseAddr("10.1.0.1"), transport: transport}
			if wait := r.answer(x); wait != nil {
				wait()
				r.settle(x)
			}
		}
	})
}
