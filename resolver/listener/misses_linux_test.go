package listener_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/resolver"
	"rideau/resolver/cache"
	"rideau/resolver/limit"
	"rideau/resolver/listener"
	"rideau/resolver/qtype"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/do53"
	"rideau/resolver/upstream/member"
	"rideau/resolver/wire"
)

// mirror is an upstream that answers NODATA: it sends queries back as
// responses. While held it keeps them.
type mirror struct {
	conn     *net.UDPConn
	received atomic.Int64

	mu   sync.Mutex
	held bool
	kept []func()
}

func newMirror(t *testing.T) *mirror {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	m := &mirror{conn: conn}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			buf := make([]byte, 512)
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			m.received.Add(1)
			buf[2] |= 0x80 // QR
			buf[3] |= 0x80 // RA: an empty response of a server that does not recurse is none
			answer := func() { conn.WriteToUDPAddrPort(buf[:n], from) }
			m.mu.Lock()
			if m.held {
				m.kept = append(m.kept, answer)
			} else {
				answer()
			}
			m.mu.Unlock()
		}
	})
	t.Cleanup(func() { conn.Close(); wg.Wait() })
	return m
}

func (m *mirror) addr() netip.AddrPort { return m.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// hold keeps queries from now on; release answers them all.
func (m *mirror) hold() { m.mu.Lock(); m.held = true; m.mu.Unlock() }

func (m *mirror) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = false
	for _, answer := range m.kept {
		answer()
	}
	m.kept = nil
}

// forwarder is a resolver that bans nothing, caches nothing and asks mirrors.
func forwarder(t testing.TB, o upstream.Options, mirrors ...*mirror) *resolver.Resolver {
	t.Helper()
	var ups []member.Server
	for _, m := range mirrors {
		ups = append(ups, do53.New(m.addr(), do53.Options{}))
	}
	return forwarderTo(t, o, 0, ups...)
}

// forwarderTo is a resolver that bans nothing and caches so many responses.
func forwarderTo(t testing.TB, o upstream.Options, entries int, ups ...member.Server) *resolver.Resolver {
	t.Helper()
	snap, _, err := compile.Load(context.Background(), blocklists.Policy{}, nil, compile.Options{Slots: new(blocklists.Slots)})
	if err != nil {
		t.Fatal(err)
	}
	st, err := resolver.NewState(resolver.StateOptions{Policy: snap, UDPSize: 1232,
		Clients:  []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Upstream: upstream.NewGroup("test", o, ups...)})
	if err != nil {
		t.Fatal(err)
	}
	return resolver.New(resolver.Options{Cache: cache.New(cache.Options{Entries: entries, Bytes: 1 << 26}), State: st})
}

// miss is a query for a name of its own.
func miss(t testing.TB, id uint16) []byte {
	t.Helper()
	var n wire.Name
	if err := n.SetText(fmt.Sprintf("n%d.example.", id)); err != nil {
		t.Fatal(err)
	}
	return wire.AppendQuery(nil, id, &n, wire.TypeA, wire.ClassIN, false, false, true, 1232)
}

// answered checks that a is the answer to some query of ids and returns which.
func answered(t *testing.T, a []byte, rcode wire.Rcode) uint16 {
	t.Helper()
	id := wire.ID(a)
	if !wire.Matches(miss(t, id), a) || wire.HeaderRcode(a) != rcode {
		t.Fatalf("%x is no answer with rcode %d", a, rcode)
	}
	return id
}

var patient = upstream.Options{NoHedge: true, AttemptTimeout: 5 * time.Second, Timeout: 10 * time.Second}

// Queries wait together, and each response goes back to its own client, from the
// address that was asked.
func TestMissesWait(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::1]:0"} {
		t.Run(addr, func(t *testing.T) {
			needs(t, addr)
			m := newMirror(t)
			m.hold()
			s := serve(t, forwarder(t, patient, m), listener.Options{Addrs: []string{addr}})
			var conns []net.Conn
			const n, each = 5, 40
			for i := range n {
				to := s.Addr()
				if to.Addr().IsUnspecified() {
					to = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i)}), to.Port())
				}
				c := dial(t, "udp", to)
				conns = append(conns, c)
				for j := range each {
					send(t, c, miss(t, uint16(i*each+j)))
				}
			}
			eventually(t, "all wait", func() bool { return s.Stats().Pending == n*each && m.received.Load() == n*each })
			m.release()
			for i, c := range conns {
				seen := map[uint16]bool{}
				for range each {
					id := answered(t, receive(t, c), wire.NoError)
					if int(id)/each != i || seen[id] {
						t.Fatalf("client %d got answer %d", i, id)
					}
					seen[id] = true
				}
			}
			eventually(t, "none waits", func() bool { return s.Stats().Pending == 0 })
			if k := s.stats.Totals().Queries[resolver.UDP][qtype.A][resolver.Forwarded]; k != n*each {
				t.Errorf("%d counted", k)
			}
		})
	}
}

// The same question of many clients is sent upstream once.
func TestMissesShare(t *testing.T) {
	m := newMirror(t)
	m.hold()
	s := serve(t, forwarder(t, patient, m), listener.Options{})
	var conns []net.Conn
	for range 20 {
		c := dial(t, "udp", s.Addr())
		send(t, c, miss(t, 7))
		conns = append(conns, c)
	}
	eventually(t, "all wait", func() bool { return s.Stats().Pending == 20 })
	m.release()
	for _, c := range conns {
		answered(t, receive(t, c), wire.NoError)
	}
	if n := m.received.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// A query beyond the limit of those that wait is shed at once. Queries that were
// answered do not count any more.
func TestMissesAreBounded(t *testing.T) {
	m := newMirror(t)
	m.hold()
	s := serve(t, forwarder(t, patient, m), listener.Options{Workers: 1, WaitLimit: limit.NewWaitLimit(10)})
	c := dial(t, "udp", s.Addr())
	for round := range uint16(3) {
		m.hold()
		for i := range uint16(11) {
			send(t, c, miss(t, 100*round+i))
		}
		if id := answered(t, receive(t, c), wire.ServFail); id != 100*round+10 {
			t.Errorf("query %d was shed", id)
		}
		m.release()
		for range 10 {
			answered(t, receive(t, c), wire.NoError)
		}
		eventually(t, "none waits", func() bool { return s.Stats().Pending == 0 })
	}
	if n := s.Stats().Shed; n != 3 {
		t.Errorf("%d shed", n)
	}
}

// When a server is silent another is asked too. The late response of the first is
// not accepted for another query.
func TestMissesFailOver(t *testing.T) {
	noLeak(t)
	silent, good := newMirror(t), newMirror(t)
	silent.hold()
	r := forwarder(t, upstream.Options{AttemptTimeout: 50 * time.Millisecond, Timeout: 9 * time.Second}, silent, good)
	s := serve(t, r, listener.Options{Workers: 1})
	c := dial(t, "udp", s.Addr())
	for i := range uint16(20) {
		send(t, c, miss(t, i))
	}
	seen := map[uint16]bool{}
	for range 20 {
		seen[answered(t, receive(t, c), wire.NoError)] = true
	}
	if len(seen) != 20 {
		t.Errorf("%d answers", len(seen))
	}
	silent.release()
	for i := range uint16(20) {
		send(t, c, miss(t, 100+i))
		answered(t, receive(t, c), wire.NoError)
	}
}

func TestMissesDrain(t *testing.T) {
	noLeak(t)
	for _, in := range []string{"time", "vain"} {
		t.Run(in, func(t *testing.T) {
			m := newMirror(t)
			m.hold()
			drain := 500 * time.Millisecond
			if in == "time" {
				drain = 4 * time.Second
			}
			s := serve(t, forwarder(t, patient, m), listener.Options{Drain: drain})
			c := dial(t, "udp", s.Addr())
			for i := range uint16(10) {
				send(t, c, miss(t, i))
			}
			eventually(t, "all wait", func() bool { return s.Stats().Pending == 10 })
			stopped := make(chan struct{})
			go func() { s.stop(); close(stopped) }()
			rcode := wire.ServFail
			if in == "time" {
				time.Sleep(drain/2 + 100*time.Millisecond) // sleeps: the answers come in the second half of the drain
				m.release()
				rcode = wire.NoError
			}
			for range 10 {
				answered(t, receive(t, c), rcode)
			}
			<-stopped
			if n := s.Stats().Pending; n != 0 {
				t.Errorf("%d wait", n)
			}
		})
	}
}

// A reload that bans a name while its query waits holds for that query.
func TestMissesSeeReloads(t *testing.T) {
	m := newMirror(t)
	m.hold()
	r := forwarder(t, patient, m)
	s := serve(t, r, listener.Options{})
	c := dial(t, "udp", s.Addr())
	send(t, c, miss(t, 1))
	eventually(t, "it waits", func() bool { return m.received.Load() == 1 })
	snap, _, err := compile.Load(context.Background(), blocklists.Policy{
		Lists: []input.List{textList("l", "n1.example\n")},
		Bans:  []blocklists.Ban{{ID: "b", TitleEN: "B", EDE: 15, TTL: 30 * time.Second, Groups: []string{"all"}, Lists: []string{"l"}}},
	}, nil, compile.Options{Slots: new(blocklists.Slots)})
	if err != nil {
		t.Fatal(err)
	}
	r.SetState(r.State().WithPolicy(snap))
	m.release()
	answered(t, receive(t, c), wire.NXDomain)
}

func textList(id, text string) input.List {
	return input.List{ID: id, Source: id, Format: format.Plain, Unguarded: true,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
}
