package nat64

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// TestPrefixOf: the example addresses of RFC 6052 section 2.2, of the two addresses of ipv4only.arpa, and what is none.
func TestPrefixOf(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"2001:db8:c000:aa::":            "2001:db8::/32",
		"2001:db8:1c0:0:aa::":           "2001:db8:100::/40",
		"2001:db8:122:c000:0:aa00::":    "2001:db8:122::/48",
		"2001:db8:122:3c0:0:aa::":       "2001:db8:122:300::/56",
		"2001:db8:122:344:c0:0:aa00:0":  "2001:db8:122:344::/64",
		"2001:db8:122:344::c000:ab":     "2001:db8:122:344::/96",
		"fd00:64::c000:aa":              "fd00:64::/96",
		"64:ff9b:1::c000:aa":            "64:ff9b:1::/96",
		"64:ff9b::c000:aa":              "", // known without discovery
		"2001:db8::1":                   "",
		"2001:db8:122:344::c000:ac":     "",
		"2001:db8:c000:aa::c000:aa":     "", // two places
		"2001:db8:122:344:1c0:0:aa00:0": "", // bits 64 to 71
		"::ffff:192.0.0.170":            "",
		"fe80::c000:aa":                 "",
		"::c000:aa":                     "",
		"ff02::c000:aa":                 "",
	} {
		p, ok := prefixOf(netip.MustParseAddr(addr))
		if got := p.String(); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %v %v, want %s", addr, got, ok, want)
		}
	}
}

// answers answers with addresses; none is a failure.
type answers struct {
	t     *testing.T
	mu    sync.Mutex // guards the fields below
	addrs []string
	rcode int
	asked int
}

func (a *answers) Exchange(_ context.Context, dst, query []byte) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	q := new(dns.Msg)
	if err := q.Unpack(query); err != nil || q.Question[0].Name != "ipv4only.arpa." || q.Question[0].Qtype != dns.TypeAAAA || q.CheckingDisabled {
		a.t.Errorf("%v %v", q, err)
	}
	if a.addrs == nil && a.rcode == 0 {
		return dst, errors.New("no answer")
	}
	m := new(dns.Msg).SetRcode(q, a.rcode)
	for _, x := range a.addrs {
		m.Answer = append(m.Answer, &dns.AAAA{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeAAAA, Class: dns.ClassINET, Ttl: 600}, AAAA: netip.MustParseAddr(x).AsSlice()})
	}
	b, err := m.Pack()
	return append(dst, b...), err
}

// TestRun: new prefixes are told once, failures and answers without them take none away, and their number is bounded. What is asked again is asked
// when the TTL is over, or soon after a failure; nothing is asked where nothing is to be discovered.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, a := New(slog.New(slog.DiscardHandler)), &answers{t: t}
		var on atomic.Bool
		var told atomic.Int64
		say := func(rcode int, addrs ...string) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.rcode, a.addrs = rcode, addrs
		}
		go d.Run(t.Context(), func() Exchanger {
			if !on.Load() {
				return nil
			}
			return a
		}, func() { told.Add(1) })
		has := func(when string, asked int, tells int64, want ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			for _, p := range d.With(nil) {
				got = append(got, p.String())
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.asked != asked || told.Load() != tells || !slices.Equal(got, want) {
				t.Errorf("%s: asked %d times, told %d, %q; want %d, %d, %q", when, a.asked, told.Load(), got, asked, tells, want)
			}
		}
		time.Sleep(time.Hour)
		has("off", 0, 0)
		on.Store(true)
		d.Wake()
		has("a failure", 1, 0)
		say(0, "2001:db8:1::c000:aa", "2001:db8:1::c000:ab")
		time.Sleep(time.Minute)
		has("found", 2, 1, "2001:db8:1::/96")
		time.Sleep(9 * time.Minute)
		has("within the TTL", 2, 1, "2001:db8:1::/96")
		say(0, "2001:db8:2::c000:aa")
		time.Sleep(time.Minute)
		has("another", 3, 2, "2001:db8:1::/96", "2001:db8:2::/96")
		say(dns.RcodeNameError)
		time.Sleep(10 * time.Minute)
		has("denied", 4, 2, "2001:db8:1::/96", "2001:db8:2::/96")
		var many []string
		for i := range 20 {
			many = append(many, netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 9, byte(i), 12: 192, 15: 170}).String())
		}
		say(0, many...)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(d.With(nil)); n != most || told.Load() != 3 {
			t.Errorf("%d prefixes, told %d times", n, told.Load())
		}
		if both := d.With([]netip.Prefix{netip.MustParsePrefix("2001:db8:1::/96"), netip.MustParsePrefix("2001:db8:77::/96")}); len(both) != most+1 {
			t.Errorf("with the configured ones: %v", both)
		}
	})
}
