package cookie_test

import (
	"cmp"
	"encoding/hex"
	"net/netip"
	"testing"

	"rideau/resolver/cookie"
)

func unhex[T ~[8]byte | ~[16]byte](t *testing.T, s string) T {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	var out T
	if len(b) != len(out) {
		t.Fatalf("%q has %d octets", s, len(b))
	}
	for i := range b {
		out[i] = b[i]
	}
	return out
}

// The test vectors of RFC 9018 appendix A.
func TestVectors(t *testing.T) {
	one := unhex[cookie.Secret](t, "e5e973e5a6b2a43f48e7dc849e37bfcf")
	two := unhex[cookie.Secret](t, "445536bcd2513298075a5d379663c962")
	old := unhex[cookie.Secret](t, "dd3bdf9344b678b185a6f5cb60fca715")
	for _, v := range []struct {
		name         string
		secret       cookie.Secret
		client, addr string
		at           int64
		got, want    string
		gotAt        int64 // when got is checked; 0 is at
	}{
		{name: "A.1", secret: one, client: "2464c4abcf10c957", addr: "198.51.100.100", at: 1559731985, want: "010000005cf79f111f8130c3eee29480"},
		{name: "A.2", secret: one, client: "2464c4abcf10c957", addr: "198.51.100.100", at: 1559734385, got: "010000005cf79f111f8130c3eee29480", want: "010000005cf7a871d4a564a1442aca77"},
		{name: "A.3", secret: one, client: "fc93fc62807ddb86", addr: "203.0.113.203", at: 1559734700, gotAt: 1559727985, got: "01abcdef5cf78f71a314227b6679ebf5", want: "010000005cf7a9acf73a7810aca2381e"},
		{name: "A.4", secret: two, client: "22681ab97d52c298", addr: "2001:db8:220:1:59de:d0f4:8769:82b8", at: 1559741961, want: "010000005cf7c609a6bb79d16625507a"},
		{name: "A.4, the old secret", secret: old, client: "22681ab97d52c298", addr: "2001:db8:220:1:59de:d0f4:8769:82b8", at: 1559741961, got: "010000005cf7c57926556bd0934c72f8"},
	} {
		j := cookie.New(v.secret)
		c, a := unhex[cookie.Client](t, v.client), netip.MustParseAddr(v.addr)
		if v.got != "" {
			if valid, _ := j.Check(c, unhex[cookie.Server](t, v.got), a, cmp.Or(v.gotAt, v.at)); !valid {
				t.Errorf("%s: not valid", v.name)
			}
		}
		if v.want == "" {
			continue
		}
		got := j.Make(c, a, v.at)
		if hex.EncodeToString(got[:]) != v.want {
			t.Errorf("%s: made %x, want %s", v.name, got, v.want)
		}
		if valid, fresh := j.Check(c, got, a, v.at+10); !valid || !fresh {
			t.Errorf("%s: a new cookie is valid %v, fresh %v", v.name, valid, fresh)
		}
	}
}

func TestCheck(t *testing.T) {
	old, now := cookie.Secret{1}, cookie.Secret{2}
	client, other := cookie.Client{7}, cookie.Client{8}
	addr, elsewhere := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	const at = 1_800_000_000
	j := cookie.New(now, old)
	s := j.Make(client, addr, at)
	check := func(what string, c cookie.Client, s cookie.Server, a netip.Addr, t0 int64, valid, fresh bool) {
		t.Helper()
		if v, f := j.Check(c, s, a, t0); v != valid || f != fresh {
			t.Errorf("%s: valid %v, fresh %v", what, v, f)
		}
	}
	check("at once", client, s, addr, at, true, true)
	check("as IPv4 in IPv6", client, s, netip.MustParseAddr("::ffff:192.0.2.1"), at, true, true)
	check("after a quarter of an hour", client, s, addr, at+900, true, true)
	check("after half an hour", client, s, addr, at+1800, true, false)
	check("after an hour", client, s, addr, at+3600, true, false)
	check("after more", client, s, addr, at+3601, false, false)
	check("from a server that is ahead", client, s, addr, at-300, true, true)
	check("from the future", client, s, addr, at-301, false, false)
	check("of another client", other, s, addr, at, false, false)
	check("from elsewhere", client, s, elsewhere, at, false, false)
	check("by the old secret", client, cookie.New(old).Make(client, addr, at), addr, at, true, false)
	check("by another secret", client, cookie.New(cookie.Secret{3}).Make(client, addr, at), addr, at, false, false)
	forged := s
	forged[15] ^= 1
	check("forged", client, forged, addr, at, false, false)
	forged = s
	forged[0] = 2
	check("of another version", client, forged, addr, at, false, false)
	const end = 1<<32 - 10
	s = j.Make(client, addr, end)
	check("across 2106", client, s, addr, end+20, true, true)
}

func TestParseSecret(t *testing.T) {
	if s, err := cookie.ParseSecret("000102030405060708090A0b0c0d0e0f"); err != nil || s[15] != 15 || s[10] != 10 {
		t.Errorf("%x, %v", s, err)
	}
	for _, bad := range []string{"", "00", "000102030405060708090a0b0c0d0e0g", "000102030405060708090a0b0c0d0e0f00"} {
		if _, err := cookie.ParseSecret(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestAllocations(t *testing.T) {
	j := cookie.New(cookie.Secret{1}, cookie.Secret{2})
	addr := netip.MustParseAddr("2001:db8::1")
	if n := testing.AllocsPerRun(100, func() {
		s := j.Make(cookie.Client{1}, addr, 100)
		j.Check(cookie.Client{1}, s, addr, 100)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCheck(b *testing.B) {
	j := cookie.New(cookie.Secret{1})
	addr := netip.MustParseAddr("192.0.2.1")
	s := j.Make(cookie.Client{1}, addr, 100)
	for b.Loop() {
		j.Check(cookie.Client{1}, s, addr, 100)
	}
}
