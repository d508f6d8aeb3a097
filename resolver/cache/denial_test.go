package cache_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/cache"
	"rideau/resolver/cache/existence"
	"rideau/resolver/wire"
)

const denied = "example.com. 300 IN SOA ns.example.com. host.example.com. 1 7200 3600 1209600 300"

func nxdomain(t testing.TB, name string, records ...string) *dns.Msg {
	return response(t, name, dns.TypeA, dns.RcodeNameError, append([]string{"--"}, records...)...)
}

// deny stores an NXDOMAIN for a name, after one for another question and some for
// names below, so that it is held against all types and the names below.
func deny(t testing.TB, c *cache.Cache, k cache.Key, m *dns.Msg, now int64) {
	t.Helper()
	denyAlone(t, c, k, m, now)
	if k.DO {
		return
	}
	for i := range existence.Evidence {
		below, other := k, m.Copy()
		below.Name = name(t, fmt.Sprintf("below%d.%s", i, k.Name))
		other.Question[0].Name = below.Name.String()
		put(t, c, below, other, now)
		c.Remove(below)
	}
}

// denyAlone is deny without names below: it is held against all types only.
func denyAlone(t testing.TB, c *cache.Cache, k cache.Key, m *dns.Msg, now int64) {
	t.Helper()
	first := k
	first.Type = wire.TypeTXT
	other := m.Copy()
	other.Question[0].Qtype = dns.TypeTXT
	put(t, c, first, other, now)
	put(t, c, k, m, now)
	n := c.Denials()
	c.Remove(first)
	if c.Denials() == n-1 { // Remove removes the denial, too
		put(t, c, k, m, now)
	}
}

// An NXDOMAIN answers for all types of its name and of names below, with its
// own records and their remaining TTLs, and for nothing else.
func TestDenial(t *testing.T) {
	c := cache.New(options())
	m := nxdomain(t, "gone.example.com", denied)
	m.AuthenticatedData = true
	deny(t, c, key(t, "gone.example.com", dns.TypeA), m, epoch)
	if s := c.Stats(); s.Entries != 1 {
		t.Fatalf("stats %+v", s)
	}
	with := func(k cache.Key, change func(*cache.Key)) cache.Key {
		change(&k)
		return k
	}
	for what, tt := range map[string]struct {
		k    cache.Key
		want bool
		ad   bool
	}{
		"itself":           {key(t, "gone.example.com", dns.TypeA), true, true},
		"another type":     {key(t, "gone.example.com", dns.TypeAAAA), true, true},
		"below":            {key(t, "a.gone.example.com", dns.TypeMX), true, false},
		"deep below":       {key(t, "a.b.c.d.e.f.gone.example.com", dns.TypeA), true, false},
		"above":            {key(t, "example.com", dns.TypeA), false, false},
		"beside":           {key(t, "x-gone.example.com", dns.TypeA), false, false},
		"with DO":          {with(key(t, "gone.example.com", dns.TypeA), func(k *cache.Key) { k.DO = true }), false, false},
		"below, with DO":   {with(key(t, "a.gone.example.com", dns.TypeA), func(k *cache.Key) { k.DO = true }), false, false},
		"with CD":          {with(key(t, "gone.example.com", dns.TypeA), func(k *cache.Key) { k.CD = true }), false, false},
		"another class":    {with(key(t, "gone.example.com", dns.TypeA), func(k *cache.Key) { k.Class = wire.ClassANY }), false, false},
		"another upstream": {with(key(t, "a.gone.example.com", dns.TypeA), func(k *cache.Key) { k.ZoneLabels = 4 }), false, false},
		"the zone's apex":  {with(key(t, "a.gone.example.com", dns.TypeA), func(k *cache.Key) { k.ZoneLabels = 3 }), true, false},
	} {
		t.Run(what, func(t *testing.T) {
			before := c.Stats()
			msg, hit := c.Get([]byte("head"), tt.k, epoch+100*second)
			after := c.Stats()
			if (hit.Freshness == cache.Fresh) != tt.want {
				t.Fatalf("freshness %d", hit.Freshness)
			}
			if after.Hits+after.Misses != before.Hits+before.Misses+1 || (after.Hits > before.Hits) != tt.want {
				t.Errorf("stats %+v, before %+v", after, before)
			}
			if below := tt.want && tt.k.Name.Labels() > 3; below != (after.Cuts > before.Cuts) {
				t.Errorf("stats %+v, before %+v", after, before)
			}
			if !tt.want {
				if string(msg) != "head" {
					t.Errorf("appended %x", msg)
				}
				return
			}
			got := unpack(t, msg[4:])
			want := nxdomain(t, tt.k.Name.String(), denied)
			want.Question[0].Qtype, want.Id, want.AuthenticatedData = uint16(tt.k.Type), 0, tt.ad
			want.Ns[0].Header().Ttl = 200
			if got.String() != want.String() {
				t.Errorf("got %v\nwant %v", got, want)
			}
			if hit.Generation != 1 {
				t.Errorf("generation %d", hit.Generation)
			}
			c.MarkClean(tt.k, hit, 9)
			if _, hit := c.Get(nil, key(t, "z.gone.example.com", dns.TypeA), epoch); hit.Generation != 9 {
				t.Errorf("generation %d after it was found clean", hit.Generation)
			}
			c.Unmark(key(t, "gone.example.com", dns.TypeAAAA))
			if _, hit := c.Get(nil, tt.k, epoch); hit.Generation != 0 {
				t.Errorf("generation %d after it was found unclean", hit.Generation)
			}
			c.MarkClean(tt.k, hit, 1)
		})
	}
	if _, hit := c.Get(nil, key(t, "a.gone.example.com", dns.TypeA), epoch+300*second); hit.Freshness != cache.Miss {
		t.Error("found after it expired")
	}
}

// The names below an empty non-terminal are there, whatever a broken server says
// of it, for as long as not many of them are denied, too.
func TestDenialOfNonTerminal(t *testing.T) {
	c := cache.New(options())
	ent := key(t, "ent.example.com", dns.TypeA)
	denyAlone(t, c, ent, nxdomain(t, "ent.example.com", denied), epoch)
	mx := key(t, "ent.example.com", dns.TypeMX)
	if _, hit := c.Get(nil, mx, epoch); hit.Freshness != cache.Fresh {
		t.Error("another type is not denied")
	}
	for i := range existence.Evidence {
		below := fmt.Sprintf("n%d.ent.example.com", i)
		if _, hit := c.Get(nil, key(t, below, dns.TypeA), epoch); hit.Freshness != cache.Miss {
			t.Fatalf("%s is denied after %d others", below, i)
		}
		put(t, c, key(t, below, dns.TypeA), nxdomain(t, below, denied), epoch)
	}
	if _, hit := c.Get(nil, key(t, "www.ent.example.com", dns.TypeA), epoch); hit.Freshness != cache.Fresh {
		t.Error("nothing below is there, and a name below is not denied")
	}
	put(t, c, ent, nxdomain(t, "ent.example.com", denied), epoch+100*second) // renews it
	if _, hit := c.Get(nil, key(t, "www.ent.example.com", dns.TypeA), epoch+350*second); hit.Freshness != cache.Fresh {
		t.Error("a renewed denial does not hold for names below")
	}
	cd := key(t, "www.ent.example.com", dns.TypeA)
	cd.CD = true
	put(t, c, cd, response(t, "www.ent.example.com", dns.TypeA, 0, "www.ent.example.com. 300 IN A 192.0.2.1"), epoch+200*second)
	for i := range 2 * existence.Evidence {
		below := fmt.Sprintf("m%d.ent.example.com", i)
		if _, hit := c.Get(nil, key(t, below, dns.TypeA), epoch+201*second); hit.Freshness != cache.Miss {
			t.Fatalf("%s is denied though a name beside it is there", below)
		}
		put(t, c, key(t, below, dns.TypeA), nxdomain(t, below, denied), epoch+201*second)
	}
}

// An NXDOMAIN contradicts what was answered a moment ago, unless it is meant so.
func TestContradicts(t *testing.T) {
	c := cache.New(options())
	put(t, c, key(t, "www.ent.example.com", dns.TypeA), response(t, "www.ent.example.com", dns.TypeA, 0, "www.ent.example.com. 60 IN A 192.0.2.1"), epoch)
	do, cd, ds := key(t, "www.ent.example.com", dns.TypeAAAA), key(t, "www.ent.example.com", dns.TypeAAAA), key(t, "www.ent.example.com", dns.TypeDS)
	do.DO, cd.CD, ds.ZoneLabels = true, true, 5
	blocked := nxdomain(t, "www.ent.example.com", denied)
	blocked.SetEdns0(1232, false)
	blocked.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeCensored}}
	for what, tt := range map[string]struct {
		k    cache.Key
		m    *dns.Msg
		at   int64
		want bool
	}{
		"of another type":              {k: key(t, "www.ent.example.com", dns.TypeAAAA), want: true},
		"of the same type":             {k: key(t, "www.ent.example.com", dns.TypeA), want: true},
		"with DO":                      {k: do, want: true},
		"with CD":                      {k: cd, want: true},
		"of the non-terminal":          {k: key(t, "ent.example.com", dns.TypeA), want: true},
		"of a name below":              {k: key(t, "a.www.ent.example.com", dns.TypeA)},
		"of a name beside":             {k: key(t, "x.ent.example.com", dns.TypeA)},
		"of the zone above":            {k: ds},
		"long after":                   {k: key(t, "www.ent.example.com", dns.TypeA), at: 3900},
		"NODATA":                       {k: key(t, "www.ent.example.com", dns.TypeAAAA), m: response(t, "www.ent.example.com", dns.TypeAAAA, 0, "--", denied)},
		"of a filter that says so":     {k: key(t, "www.ent.example.com", dns.TypeAAAA), m: blocked},
		"of a filter without SOA":      {k: key(t, "www.ent.example.com", dns.TypeA), m: nxdomain(t, "www.ent.example.com")},
		"of a filter with its own":     {k: key(t, "www.ent.example.com", dns.TypeA), m: nxdomain(t, "www.ent.example.com", "rpz.example. 60 IN SOA a. b. 1 2 3 4 60")},
		"of what an alias leads to":    {k: key(t, "www.ent.example.com", dns.TypeA), m: response(t, "www.ent.example.com", dns.TypeA, dns.RcodeNameError, "www.ent.example.com. 60 IN CNAME x.example.com.", "--", denied)},
		"of a name never answered":     {k: key(t, "mail.example.com", dns.TypeA)},
		"of a name of the same zone's": {k: key(t, "example.com", dns.TypeA), m: nxdomain(t, "example.com", "com. 60 IN SOA a. b. 1 2 3 4 60"), want: true},
	} {
		m := tt.m
		if m == nil {
			m = nxdomain(t, tt.k.Name.String(), denied)
		}
		m.Question[0].Qtype = uint16(tt.k.Type)
		msg, r := parsed(t, m)
		if got := c.Contradicts(tt.k, msg, r, epoch+tt.at*second); got != tt.want {
			t.Errorf("an NXDOMAIN %s: %v", what, got)
		}
	}
}

// An NXDOMAIN that does not deny the name for all types and names below is
// stored for its question only.
func TestNoDenial(t *testing.T) {
	do := key(t, "gone.example.com", dns.TypeA)
	do.DO = true
	alias := response(t, "gone.example.com", dns.TypeA, dns.RcodeNameError, "gone.example.com. 300 IN CNAME x.example.com.", "--", denied)
	for what, tt := range map[string]struct {
		k cache.Key
		m *dns.Msg
	}{
		"NODATA":               {key(t, "gone.example.com", dns.TypeA), response(t, "gone.example.com", dns.TypeA, 0, "--", denied)},
		"at the end of a link": {key(t, "gone.example.com", dns.TypeA), alias},
		"SOA at the name":      {key(t, "gone.example.com", dns.TypeA), nxdomain(t, "gone.example.com", "gone.example.com. 300 IN SOA a. b. 1 2 3 4 300")},
		"SOA elsewhere":        {key(t, "gone.example.com", dns.TypeA), nxdomain(t, "gone.example.com", "rpz.example. 300 IN SOA a. b. 1 2 3 4 300")},
		"with DO":              {do, nxdomain(t, "gone.example.com", denied)},
	} {
		c := cache.New(options())
		if !put(t, c, tt.k, tt.m, epoch) {
			t.Errorf("%s: not stored", what)
		}
		if _, hit := c.Get(nil, tt.k, epoch); hit.Freshness != cache.Fresh {
			t.Errorf("%s: not found", what)
		}
		other, below := tt.k, tt.k
		other.Type, below.Name = wire.TypeMX, name(t, "a.gone.example.com")
		for _, k := range []cache.Key{other, below} {
			if _, hit := c.Get(nil, k, epoch); hit.Freshness != cache.Miss {
				t.Errorf("%s: answers for %s type %d", what, k.Name, k.Type)
			}
		}
	}
	o := options()
	o.NoCut = true
	c := cache.New(o)
	deny(t, c, key(t, "gone.example.com", dns.TypeA), nxdomain(t, "gone.example.com", denied), epoch)
	if _, hit := c.Get(nil, key(t, "gone.example.com", dns.TypeMX), epoch); hit.Freshness != cache.Fresh {
		t.Error("NoCut: another type not answered")
	}
	if _, hit := c.Get(nil, key(t, "a.gone.example.com", dns.TypeA), epoch); hit.Freshness != cache.Miss {
		t.Error("NoCut: a name below is answered")
	}
}

// An answer for a name removes denials of the name and of names above; an
// NXDOMAIN removes the answer stored for its question.
func TestDenialContradicted(t *testing.T) {
	for _, below := range []string{"gone.example.com", "a.b.gone.example.com"} {
		for _, records := range [][]string{{below + ". 300 IN A 192.0.2.1"}, {"--", denied}, {below + ". 0 IN A 192.0.2.1"}} {
			c := cache.New(options())
			put(t, c, key(t, "gone.example.com", dns.TypeMX), nxdomain(t, "gone.example.com", denied), epoch)
			cd := key(t, below, dns.TypeA)
			cd.CD = true
			put(t, c, cd, response(t, below, dns.TypeA, 0, records...), epoch)
			if _, hit := c.Get(nil, key(t, "z.gone.example.com", dns.TypeA), epoch); hit.Freshness != cache.Miss {
				t.Errorf("%s %v: still denied", below, records)
			}
		}
	}
	o := options()
	o.MaxStale = time.Hour
	c := cache.New(o)
	k := key(t, "www.example.com", dns.TypeA)
	put(t, c, k, response(t, "www.example.com", dns.TypeA, 0, "www.example.com. 100 IN A 192.0.2.1"), epoch)
	other := key(t, "www.example.com", dns.TypeTXT)
	put(t, c, other, response(t, "www.example.com", dns.TypeTXT, 0, `www.example.com. 100 IN TXT "x"`), epoch)
	put(t, c, k, nxdomain(t, "www.example.com", denied), epoch+50*second)
	put(t, c, other, response(t, "www.example.com", dns.TypeTXT, dns.RcodeNameError, "--", denied), epoch+50*second)
	if _, hit := c.Get(nil, other, epoch+60*second); hit.Freshness != cache.Fresh {
		t.Error("a fresh answer of another type is not found")
	}
	for _, k := range []cache.Key{k, other} {
		msg, hit := c.GetStale(nil, k, epoch+500*second)
		if hit.Freshness != cache.Expired || wire.HeaderRcode(msg) != wire.NXDomain {
			t.Errorf("type %d: freshness %d, the older of two is served stale", k.Type, hit.Freshness)
		}
	}
	if _, hit := c.GetStale(nil, key(t, "a.www.example.com", dns.TypeA), epoch+500*second); hit.Freshness != cache.Miss {
		t.Error("an expired denial denies a name below")
	}
}

// A remembered failure does not hide a denial.
func TestDenialBeforeFailure(t *testing.T) {
	c := cache.New(options())
	k := key(t, "a.gone.example.com", dns.TypeA)
	c.PutFailure(k, wire.ServFail, -1, false, epoch)
	if _, hit := c.Get(nil, k, epoch); !hit.Failure {
		t.Fatal("no failure")
	}
	deny(t, c, key(t, "gone.example.com", dns.TypeA), nxdomain(t, "gone.example.com", denied), epoch)
	if _, hit := c.Get(nil, k, epoch); hit.Failure || hit.Freshness != cache.Fresh {
		t.Errorf("hit %+v", hit)
	}
}

// The count of denials matches the stored denials, whatever removes them.
func TestDenialsCounted(t *testing.T) {
	c := cache.New(cache.Options{Entries: 50, Bytes: 1 << 20, Shards: 2})
	for i := range 500 {
		n := fmt.Sprintf("n%d.gone.example.com", i)
		deny(t, c, key(t, n, dns.TypeA), nxdomain(t, n, denied), epoch)
		if got := c.Denials(); got != c.Stats().Entries {
			t.Fatalf("%d of %d", got, c.Stats().Entries)
		}
	}
	c.FlushTree(name(t, "n499.gone.example.com"))
	c.Remove(key(t, "n498.gone.example.com", dns.TypeMX))
	deny(t, c, key(t, "n497.gone.example.com", dns.TypeA), nxdomain(t, "n497.gone.example.com", denied), epoch)
	if got, s := c.Denials(), c.Stats(); got != s.Entries || got > 48 {
		t.Errorf("%d of %d", got, s.Entries)
	}
	c.Flush()
	if got := c.Denials(); got != 0 {
		t.Errorf("%d after all is gone", got)
	}
}

// An NXDOMAIN that is too long for a denial is stored for its question.
func TestDenialTooLong(t *testing.T) {
	c := cache.New(options())
	records := []string{denied}
	for i := range 60 {
		records = append(records, fmt.Sprintf("example.com. 300 IN NS a-rather-long-name-for-a-server-%d.example.net.", i))
	}
	if !put(t, c, key(t, "gone.example.com", dns.TypeA), nxdomain(t, "gone.example.com", records...), epoch) {
		t.Fatal("not stored")
	}
	if _, hit := c.Get(nil, key(t, "gone.example.com", dns.TypeA), epoch); hit.Freshness != cache.Fresh {
		t.Error("not found")
	}
	if c.Denials() != 0 {
		t.Error("a denial")
	}
}

func TestDenialAllocations(t *testing.T) {
	o := options()
	o.MaxStale = time.Hour
	c := cache.New(o)
	k, below := key(t, "gone.example.com", dns.TypeA), key(t, "a.gone.example.com", dns.TypeA)
	missing := key(t, "a.b.example.com", dns.TypeA)
	msg, r := parsed(t, nxdomain(t, "gone.example.com", denied))
	buf := make([]byte, 0, 1024)
	deny(t, c, k, nxdomain(t, "gone.example.com", denied), epoch)
	c.Put(buf, k, msg, r, 1, epoch)
	for i := range 400 { // so that there are other entries in its page, in any shard
		n := fmt.Sprintf("go%03d.example.com", i)
		deny(t, c, key(t, n, dns.TypeA), nxdomain(t, n, denied), epoch)
	}
	_, hit := c.Get(buf, below, epoch)
	for what, f := range map[string]func(){
		"Put":       func() { c.Put(buf, k, msg, r, 1, epoch) },
		"Get":       func() { c.Get(buf, k, epoch+second) },
		"Get below": func() { c.Get(buf, below, epoch+second) },
		"Get miss":  func() { c.Get(buf, missing, epoch+second) },
		"GetStale":  func() { c.GetStale(buf, k, epoch+400*second) },
		"MarkClean": func() { c.MarkClean(below, hit, 3) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

// BenchmarkGetBelow looks up a name below a denied one.
func BenchmarkGetBelow(b *testing.B) {
	c := cache.New(options())
	deny(b, c, key(b, "gone.example.com", dns.TypeA), nxdomain(b, "gone.example.com", denied), epoch)
	k := key(b, "abcdef.gone.example.com", dns.TypeA)
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		c.Get(buf, k, epoch+5*second)
	}
}
