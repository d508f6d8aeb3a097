package cache_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/cache"
	"rideau/resolver/wire"
)

type rule struct {
	name    string
	qtype   uint16
	rcode   int
	records []string
	want    int64 // seconds; 0 means not stored
	ttls    []uint32
}

// rules are those of RFC 2308, and other rules on how long a response is
// stored.
func rules() []rule {
	const (
		soa   = "example. 900 IN SOA ns.example. host.example. 1 7200 3600 1209600 300"
		short = "example. 40 IN SOA ns.example. host.example. 1 7200 3600 1209600 300"
		long  = "example. 90000 IN SOA ns.example. host.example. 1 7200 3600 1209600 80000"
		none  = "example. 900 IN SOA ns.example. host.example. 1 7200 3600 1209600 0"
		cname = "a.example. 60 IN CNAME b.example."
		ns    = "example. 500 IN NS ns.example."
		glue  = "ns.example. 500 IN A 192.0.2.53"
		nsec  = "a.example. 700 IN NSEC c.example. TXT RRSIG NSEC"
		addr  = "a.example. 200 IN A 192.0.2.1"
	)
	nx := dns.RcodeNameError
	return []rule{
		{"positive", dns.TypeA, 0, []string{addr}, 200, []uint32{200}},
		{"positive, others shorter", dns.TypeA, 0, []string{addr, "--", "example. 30 IN NS ns.example."}, 30, []uint32{200, 30}},
		{"positive, at the end of a chain", dns.TypeA, 0, []string{cname, "b.example. 200 IN A 192.0.2.1"}, 60, []uint32{60, 200}},
		{"positive, a CNAME asked for", dns.TypeCNAME, 0, []string{cname}, 60, []uint32{60}},
		{"positive, ANY", dns.TypeANY, 0, []string{`a.example. 70 IN HINFO "RFC8482" ""`}, 70, []uint32{70}},
		{"positive with SOA", dns.TypeSOA, 0, []string{soa}, 900, []uint32{900}},
		{"NXDOMAIN, minimum below TTL", dns.TypeA, nx, []string{"--", soa}, 300, []uint32{300}},
		{"NXDOMAIN, TTL below minimum", dns.TypeA, nx, []string{"--", short}, 40, []uint32{40}},
		{"NXDOMAIN, capped", dns.TypeA, nx, []string{"--", long}, 10800, []uint32{10800}},
		{"NXDOMAIN, minimum 0", dns.TypeA, nx, []string{"--", none}, 0, nil},
		{"NXDOMAIN without SOA", dns.TypeA, nx, nil, 0, nil},
		{"NXDOMAIN with NS only", dns.TypeA, nx, []string{"--", ns, "--", glue}, 0, nil},
		{"NXDOMAIN with SOA and NS", dns.TypeA, nx, []string{"--", soa, ns, "--", glue}, 300, []uint32{300, 300, 500}},
		{"NXDOMAIN at the end of a chain", dns.TypeA, nx, []string{cname, "--", soa}, 60, []uint32{60, 300}},
		{"NXDOMAIN at the end of a chain, without SOA", dns.TypeA, nx, []string{cname}, 0, nil},
		{"NXDOMAIN with proof", dns.TypeA, nx, []string{"--", nsec, soa}, 300, []uint32{300, 300}},
		{"NODATA", dns.TypeA, 0, []string{"--", soa}, 300, []uint32{300}},
		{"NODATA with NS too", dns.TypeA, 0, []string{"--", ns, short, "--", glue}, 40, []uint32{40, 40, 500}},
		{"NODATA at the end of a chain", dns.TypeA, 0, []string{cname, "--", short}, 40, []uint32{60, 40}},
		{"NODATA at the end of a chain, without SOA", dns.TypeA, 0, []string{cname}, 0, nil},
		{"NODATA without SOA", dns.TypeA, 0, nil, 0, nil},
		{"NODATA, minimum 0", dns.TypeA, 0, []string{"--", none}, 0, nil},
		{"referral", dns.TypeA, 0, []string{"--", ns, "--", glue}, 0, nil},
		{"YXDOMAIN", dns.TypeA, dns.RcodeYXDomain, []string{"example. 300 IN DNAME long.example."}, 0, nil},
		{"SERVFAIL", dns.TypeA, dns.RcodeServerFailure, nil, 5, nil},
		{"SERVFAIL with records", dns.TypeA, dns.RcodeServerFailure, []string{addr, "--", soa}, 5, nil},
		{"REFUSED", dns.TypeA, dns.RcodeRefused, nil, 5, nil},
	}
}

func TestRules(t *testing.T) {
	for _, tt := range rules() {
		t.Run(tt.name, func(t *testing.T) {
			c := cache.New(options())
			k := key(t, "a.example", tt.qtype)
			m := response(t, "a.example", tt.qtype, tt.rcode, tt.records...)
			if got := put(t, c, k, m, epoch); got != (tt.want > 0) {
				t.Fatalf("stored: %t", got)
			}
			if got := lifetime(t, c, k, epoch); got != tt.want {
				t.Errorf("found for %d s, want %d", got, tt.want)
			}
			if tt.want == 0 {
				return
			}
			msg, hit := c.Get(nil, k, epoch)
			got := unpack(t, msg)
			if !reflect.DeepEqual(ttls(got), tt.ttls) {
				t.Errorf("TTLs %v, want %v", ttls(got), tt.ttls)
			}
			if got.Rcode != tt.rcode || hit.Failure != (tt.rcode != 0 && tt.rcode != dns.RcodeNameError) {
				t.Errorf("rcode %d, hit %+v", got.Rcode, hit)
			}
		})
	}
}

// MinTTL does not raise negative answers; the records beside them have their
// own bounds.
func TestNegativeBounds(t *testing.T) {
	o := options()
	o.MinTTL, o.MaxNegativeTTL = 2*time.Minute, 100*time.Second
	c := cache.New(o)
	k := key(t, "a.example", dns.TypeA)
	for _, tt := range []struct {
		soa  string
		want []uint32
	}{
		{"example. 30 IN SOA ns.example. host.example. 1 7200 3600 1209600 300", []uint32{120, 30}},
		{"example. 3000 IN SOA ns.example. host.example. 1 7200 3600 1209600 300", []uint32{120, 100}},
	} {
		put(t, c, k, response(t, "a.example", dns.TypeA, 0, "a.example. 10 IN CNAME b.example.", "--", tt.soa), epoch)
		if got := ttls(unpack(t, first(c.Get(nil, k, epoch)))); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("TTLs %v, want %v", got, tt.want)
		}
	}
}

func TestFailure(t *testing.T) {
	for _, tt := range []struct {
		put, want wire.Rcode
	}{
		{wire.ServFail, wire.ServFail}, {wire.Refused, wire.Refused}, {wire.FormErr, wire.FormErr},
		// A header cannot hold these, or they mean no failure.
		{wire.BadVers, wire.ServFail}, {wire.NoError, wire.ServFail}, {wire.NXDomain, wire.ServFail},
	} {
		c := cache.New(options())
		k := key(t, "Fail.Example", dns.TypeTXT)
		k.CD = true
		c.PutFailure(k, tt.put, 22, false, epoch)
		msg, hit := c.Get(nil, k, epoch+second)
		if hit.Freshness != cache.Fresh || !hit.Failure || hit.EDE != 22 || hit.Generation != 0 {
			t.Fatalf("hit %+v", hit)
		}
		m := unpack(t, msg)
		if m.Rcode != int(tt.want) || !m.Response || !m.CheckingDisabled || m.Question[0].Name != "fail.example." ||
			m.Question[0].Qtype != dns.TypeTXT || len(all(m)) != 0 || m.Len() != len(msg) {
			t.Errorf("rcode %d gave %v", tt.put, m)
		}
		if _, hit := c.GetStale(nil, k, epoch+second); hit.Freshness != cache.Miss {
			t.Error("GetStale gave a failure")
		}
		if got := lifetime(t, c, k, epoch); got != 5 {
			t.Errorf("found for %d s, want 5", got)
		}
	}
}

func TestFailureTTLBounds(t *testing.T) {
	for in, want := range map[time.Duration]int64{
		0: 5, -1: 5, time.Millisecond: 1, 20 * time.Second: 20, time.Hour: 300,
	} {
		o := options()
		o.FailureTTL = in
		c := cache.New(o)
		k := key(t, "fail.example", dns.TypeA)
		c.PutFailure(k, wire.ServFail, -1, false, epoch)
		if got := lifetime(t, c, k, epoch); got != want {
			t.Errorf("FailureTTL %v: found for %d s, want %d", in, got, want)
		}
	}
}

// The upper bits of an extended rcode are in the OPT record, which is not
// stored.
func TestExtendedRcode(t *testing.T) {
	c := cache.New(options())
	k := key(t, "a.example", dns.TypeA)
	m := response(t, "a.example", dns.TypeA, 0, "a.example. 300 IN A 192.0.2.1")
	m.SetEdns0(1232, false)
	m.Rcode = dns.RcodeBadVers
	if !put(t, c, k, m, epoch) {
		t.Fatal("not stored")
	}
	msg, hit := c.Get(nil, k, epoch)
	if got := unpack(t, msg); got.Rcode != dns.RcodeServerFailure || len(all(got)) != 0 || !hit.Failure {
		t.Errorf("hit %+v, %v", hit, got)
	}
}

func TestEDE(t *testing.T) {
	c := cache.New(options())
	k := key(t, "a.example", dns.TypeA)
	m := response(t, "a.example", dns.TypeA, 0, "a.example. 300 IN A 192.0.2.1")
	put(t, c, k, m, epoch)
	if _, hit := c.Get(nil, k, epoch); hit.EDE != -1 {
		t.Errorf("EDE %d of a response without", hit.EDE)
	}
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: 0})
	put(t, c, k, m, epoch)
	if _, hit := c.Get(nil, k, epoch); hit.EDE != 0 {
		t.Errorf("EDE %d, want 0", hit.EDE)
	}
	if _, hit := c.Get(nil, key(t, "b.example", dns.TypeA), epoch); hit.EDE != -1 {
		t.Errorf("EDE %d of a miss", hit.EDE)
	}
}

// stale returns a cache that serves answers up to an hour stale, and the key of
// a positive answer that expires 100 seconds after epoch.
func stale(t *testing.T) (*cache.Cache, cache.Key) {
	o := options()
	o.MaxStale, o.StaleTTL, o.FailureTTL = time.Hour, 20*time.Second, 10*time.Second
	c := cache.New(o)
	k := key(t, "a.example", dns.TypeA)
	m := response(t, "a.example", dns.TypeA, 0, "a.example. 100 IN CNAME b.example.", "b.example. 4000 IN A 192.0.2.1",
		"--", "example. 9000 IN NS ns.example.", "--", "ns.example. 9000 IN A 192.0.2.53")
	if !put(t, c, k, m, epoch) {
		t.Fatal("not stored")
	}
	return c, k
}

func TestStale(t *testing.T) {
	c, k := stale(t)
	msg, hit := c.GetStale(nil, k, epoch+99*second)
	if got := ttls(unpack(t, msg)); hit.Freshness != cache.Fresh || !reflect.DeepEqual(got, []uint32{1, 3901, 8901, 8901}) {
		t.Errorf("before expiry: freshness %d, TTLs %v", hit.Freshness, got)
	}
	for _, age := range []int64{100, 101, 3700} {
		if _, hit := c.Get(nil, k, epoch+age*second); hit.Freshness != cache.Miss {
			t.Errorf("Get at %d s: freshness %d", age, hit.Freshness)
		}
		msg, hit := c.GetStale(nil, k, epoch+age*second)
		if hit.Freshness != cache.Expired || hit.Failure {
			t.Fatalf("GetStale at %d s: %+v", age, hit)
		}
		if got := ttls(unpack(t, msg)); !reflect.DeepEqual(got, []uint32{20, 20, 20, 20}) {
			t.Errorf("at %d s: TTLs %v", age, got)
		}
	}
	if msg, hit := c.GetStale([]byte{1}, k, epoch+3700*second+1); hit.Freshness != cache.Miss || len(msg) != 1 {
		t.Errorf("beyond MaxStale: freshness %d", hit.Freshness)
	}
	if s := c.Stats(); s.Stale != 3 || s.Misses != 3 || s.Hits != 0 {
		t.Errorf("stats %+v", s)
	}
	// A stale message can be marked clean like any other.
	_, hit = c.GetStale(nil, k, epoch+200*second)
	c.MarkClean(k, hit, 5)
	if _, hit := c.GetStale(nil, k, epoch+200*second); hit.Generation != 5 {
		t.Errorf("generation %d", hit.Generation)
	}
}

// Without MaxStale nothing is served stale.
func TestNothingStale(t *testing.T) {
	c := cache.New(options())
	k := key(t, "a.example", dns.TypeA)
	put(t, c, k, response(t, "a.example", dns.TypeA, 0, "a.example. 100 IN A 192.0.2.1"), epoch)
	if _, hit := c.GetStale(nil, k, epoch+100*second); hit.Freshness != cache.Miss {
		t.Error("served stale without MaxStale")
	}
}

// Negative answers are served stale like positive ones, unless a later answer
// contradicts them.
func TestNegativeStale(t *testing.T) {
	c, k := stale(t)
	const soa = "example. 50 IN SOA ns.example. host.example. 1 7200 3600 1209600 300"
	for _, rcode := range []int{dns.RcodeNameError, dns.RcodeSuccess} {
		put(t, c, k, response(t, "a.example", dns.TypeA, rcode, "--", soa), epoch)
		if _, hit := c.GetStale(nil, k, epoch+49*second); hit.Freshness != cache.Fresh {
			t.Error("negative answer not found while fresh")
		}
		msg, hit := c.GetStale(nil, k, epoch+50*second)
		if hit.Freshness != cache.Expired {
			t.Fatal("negative answer not served stale")
		}
		if m := unpack(t, msg); m.Rcode != rcode || len(m.Ns) != 1 || m.Ns[0].Header().Ttl != 20 || m.Question[0].Qtype != dns.TypeA {
			t.Errorf("got %v", m)
		}
		// Beyond MaxStale it is not.
		if _, hit := c.GetStale(nil, k, epoch+50*second+3600*second+1); hit.Freshness != cache.Miss {
			t.Error("negative answer served beyond MaxStale")
		}
	}
	if s := c.Stats(); s.Entries != 1 {
		t.Errorf("two entries contradict each other: %+v", s)
	}
}

// A failure neither removes an answer that can be served stale nor hides a
// fresh one; Get reports it while it is remembered.
func TestFailureKeepsStale(t *testing.T) {
	fail := map[string]func(*cache.Cache, cache.Key, int64){
		"PutFailure": func(c *cache.Cache, k cache.Key, now int64) { c.PutFailure(k, wire.ServFail, 23, false, now) },
		"Put": func(c *cache.Cache, k cache.Key, now int64) {
			m := response(t, "a.example", dns.TypeA, dns.RcodeServerFailure)
			m.SetEdns0(1232, false)
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: 23})
			if !put(t, c, k, m, now) {
				t.Error("failure not stored")
			}
		},
	}
	for name, fail := range fail {
		t.Run(name, func(t *testing.T) {
			c, k := stale(t)
			before := c.Stats().Bytes
			fail(c, k, epoch+50*second)
			if _, hit := c.Get(nil, k, epoch+51*second); hit.Freshness != cache.Fresh || hit.Failure {
				t.Errorf("a fresh answer is hidden: %+v", hit)
			}
			fail(c, k, epoch+200*second)
			for _, age := range []int64{200, 209} {
				msg, hit := c.Get(nil, k, epoch+age*second)
				if hit.Freshness != cache.Fresh || !hit.Failure || hit.EDE != 23 {
					t.Fatalf("at %d s: %+v", age, hit)
				}
				if m := unpack(t, msg); m.Rcode != dns.RcodeServerFailure || len(all(m)) != 0 || m.Question[0].Name != "a.example." {
					t.Errorf("at %d s: %v", age, m)
				}
				// Marking the failure does not mark the answer behind it.
				c.MarkClean(k, hit, 9)
				if _, hit := c.GetStale(nil, k, epoch+age*second); hit.Freshness != cache.Expired || hit.Generation != 1 || hit.EDE != -1 {
					t.Errorf("stale at %d s: %+v", age, hit)
				}
			}
			if _, hit := c.Get(nil, k, epoch+210*second); hit.Freshness != cache.Miss {
				t.Errorf("failure remembered too long: %+v", hit)
			}
			if s := c.Stats(); s.Bytes != before || s.Entries != 1 {
				t.Errorf("stats %+v", s)
			}
			// Beyond MaxStale the failure replaces the answer.
			fail(c, k, epoch+3701*second)
			if s := c.Stats(); s.Entries != 1 {
				t.Errorf("stats %+v", s)
			}
			if _, hit := c.Get(nil, k, epoch+3702*second); !hit.Failure {
				t.Errorf("%+v", hit)
			}
			// An answer replaces a failure.
			put(t, c, k, response(t, "a.example", dns.TypeA, 0, "a.example. 300 IN A 192.0.2.1"), epoch+3703*second)
			if _, hit := c.Get(nil, k, epoch+3703*second); hit.Freshness != cache.Fresh || hit.Failure || hit.EDE != -1 {
				t.Errorf("%+v", hit)
			}
		})
	}
}
