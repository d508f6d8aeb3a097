package limit_test

import (
	"net/netip"
	"testing"

	"rideau/resolver/limit"
)

// Queries whose address may be forged take nothing from the verified ones of the same
// client, and the other way round.
func TestGateVerifiedApart(t *testing.T) {
	for _, verified := range []bool{false, true} {
		g := limit.NewGate()
		g.LimitClients(100, 0)
		pass := func(a netip.Addr, verified bool, n int) (passed int) {
			for range n {
				if g.Admit(a, verified, second) == limit.Pass {
					passed++
				}
			}
			return passed
		}
		for _, a := range []netip.Addr{addr(1), netip.MustParseAddr("2001:db8::1")} {
			if n := pass(a, verified, 100000); n != 100 {
				t.Errorf("%v, verified %v: %d pass", a, verified, n)
			}
			if n := pass(a, !verified, 100); n != 100 {
				t.Errorf("%v, verified %v: %d pass", a, !verified, n)
			}
		}
	}
}

// However fast errors come, and however long, a client gets few.
func TestAdmitError(t *testing.T) {
	for _, c := range []struct {
		every, most int64 // nanoseconds; errors in a minute
	}{{second / 1e6, 60}, {second / 100, 60}, {second, 60}, {2 * second, 30}} {
		g := limit.NewGate()
		n := int64(0)
		for at := int64(0); at < 60*second; at += max(c.every, second/1000) {
			if g.AdmitError(addr(1), 1e18+at) {
				n++
			}
		}
		if n > c.most || n < 20 {
			t.Errorf("one in %d ns: %d in a minute", c.every, n)
		}
		if g.AdmitError(addr(2), 1e18+60*second); g.Refused(limit.ByError) == 0 && c.every < 2*second {
			t.Error("none is counted")
		}
	}
	g := limit.NewGate()
	for i := range 256 {
		if a := netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)}); g.AdmitError(a, 1e18) != (i < 20) {
			t.Errorf("error %d to addresses of one /64", i)
		}
	}
}

// Large answers to one address are bounded; small ones are not, and neither are those
// to others.
func TestAdmitOctets(t *testing.T) {
	g := limit.NewGate()
	for range 1000 {
		if !g.AdmitOctets(addr(1), 4096, 1e18) {
			t.Fatal("without a bound")
		}
	}
	g.LimitOctets(250_000)
	for _, size := range []int{512, 1024, 4096} {
		a, n := addr(size), 0
		for i := range int64(100_000) {
			if g.AdmitOctets(a, size, 1e18+3*second*i/100_000) {
				n++
			}
		}
		// A second's worth at once, and three seconds.
		if most := 4*250_000/(size-limit.FreeOctets) + 2; n > most || n < most*9/10 {
			t.Errorf("%d answers of %d octets in three seconds, at most %d", n, size, most)
		}
		if !g.AdmitOctets(a, limit.FreeOctets, 1e18+3*second) || !g.AdmitOctets(addr(9999), size, 1e18+3*second) {
			t.Error("a small answer, or one to another client, is truncated")
		}
	}
	if g.Refused(limit.ByOctets) == 0 {
		t.Error("none is counted")
	}
}

func BenchmarkAdmitOctets(b *testing.B) {
	g := limit.NewGate()
	g.LimitOctets(250_000)
	i := 0
	for b.Loop() {
		g.AdmitOctets(addr(i), 400, int64(i))
		i++
	}
}
