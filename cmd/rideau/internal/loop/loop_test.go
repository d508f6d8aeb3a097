package loop

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/acceptance"
)

// server is an upstream that hands queries to exchange.
type server struct {
	addr     string
	exchange func(ctx context.Context, dst, query []byte) ([]byte, error)
}

func (s *server) Exchange(ctx context.Context, dst, query []byte) ([]byte, error) {
	return s.exchange(ctx, dst, query)
}
func (s *server) ExchangeStream(ctx context.Context, dst, query []byte) ([]byte, error) {
	return s.exchange(ctx, dst, query)
}
func (s *server) Addr() string                   { return s.addr }
func (s *server) Endpoint() *acceptance.Endpoint { return nil }
func (s *server) TrustsAD() bool                 { return false }
func (s *server) Mismatches() uint64             { return 0 }
func (s *server) Close()                         {}

// absent answers that a name does not exist.
func absent(_ context.Context, dst, query []byte) ([]byte, error) {
	m := new(dns.Msg)
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	b, err := new(dns.Msg).SetRcode(m, dns.RcodeNameError).Pack()
	return append(dst, b...), err
}

// TestDetector: a loop is told once, and its end; a server that does not answer says nothing of either.
func TestDetector(t *testing.T) {
	var log bytes.Buffer
	var asked []string
	s := &server{addr: "192.0.2.53", exchange: absent}
	good := &server{addr: "192.0.2.54", exchange: func(ctx context.Context, dst, query []byte) ([]byte, error) {
		m := new(dns.Msg)
		if err := m.Unpack(query); err != nil {
			t.Error(err)
		} else {
			asked = append(asked, m.Question[0].Name)
		}
		return absent(ctx, dst, query)
	}}
	d := New([]Target{{"upstream.servers", Default, s}, {"upstream.servers", Default, good}}, slog.New(slog.NewTextHandler(&log, nil)))
	zones := d.Zones()
	if len(zones) != 1 || !strings.HasSuffix(zones[0], ".loop.example") {
		t.Fatalf("zones %q", zones)
	}
	// It comes back in other letters, as a forwarder that mixes case asks.
	loop := func(ctx context.Context, dst, query []byte) ([]byte, error) {
		return d.Exchange(ctx, dst, bytes.Replace(query, []byte("loop\x07example"), []byte("lOOp\x07ExamplE"), 1))
	}
	fails := func(context.Context, []byte, []byte) ([]byte, error) { return nil, errors.New("no answer") }
	for i, step := range []struct {
		exchange func(context.Context, []byte, []byte) ([]byte, error)
		found    bool
		lines    int
	}{{absent, false, 0}, {fails, false, 0}, {loop, true, 1}, {loop, true, 1}, {fails, true, 1}, {loop, true, 1}, {absent, false, 2}, {absent, false, 2}, {loop, true, 3}} {
		s.exchange = step.exchange
		d.Ask(context.Background())
		if d.Found(s.addr) != step.found || d.Found(good.addr) {
			t.Errorf("step %d: found %v and %v", i, d.Found(s.addr), d.Found(good.addr))
		}
		if n := strings.Count(log.String(), "\n"); n != step.lines {
			t.Errorf("step %d: %d lines: %s", i, n, log.String())
		}
	}
	seen := map[string]bool{}
	for _, name := range asked {
		if seen[name] || !dns.IsSubDomain(zones[0]+".", name) {
			t.Errorf("asked for %s", name)
		}
		seen[name] = true
	}
}

// TestStrangers: a question that the detector has not asked, or that has come back before, tells nothing; and each is answered, so that who
// asks does not wait.
func TestStrangers(t *testing.T) {
	var log bytes.Buffer
	d := New([]Target{{"upstream.servers", Default, &server{addr: "192.0.2.53", exchange: absent}}}, slog.New(slog.NewTextHandler(&log, nil)))
	d.Ask(context.Background())
	q := new(dns.Msg).SetQuestion("other."+d.Zones()[0]+".", dns.TypeA)
	b, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.Resume(context.Background(), []byte("before"), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(out[len("before"):]); err != nil || m.Id != q.Id || m.Rcode != dns.RcodeNameError || !m.Response || m.Question[0] != q.Question[0] {
		t.Errorf("%v %v", m, err)
	}
	if d.Found("192.0.2.53") || log.Len() > 0 {
		t.Errorf("found one: %s", log.String())
	}
	if _, err := d.Exchange(context.Background(), nil, b[:7]); !errors.Is(err, upstream.ErrNetwork) {
		t.Errorf("a query cut short: %v", err)
	}
}

// TestBounds: many zones take a bounded number of questions; without servers there are none.
func TestBounds(t *testing.T) {
	n := 0
	s := &server{addr: "192.0.2.53", exchange: func(context.Context, []byte, []byte) ([]byte, error) { return nil, errors.New("no answer") }}
	var targets []Target
	for range 500 {
		n++
		targets = append(targets, Target{"upstream.servers", strings.Repeat("x", 1+n%60) + ".example", s})
	}
	if zones := New(targets, slog.New(slog.DiscardHandler)).Zones(); len(zones) > maxProbes || len(zones) < 10 {
		t.Errorf("%d zones", len(zones))
	}
	d := New(nil, slog.New(slog.DiscardHandler))
	d.Run(context.Background()) // returns
	if len(d.Zones()) != 0 {
		t.Error(d.Zones())
	}
}
