package resolver_test

import (
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/cache"
	"rideau/resolver/device"
)

// A query that ends with the key is answered as the ban demands, and neither
// counted as blocked nor recorded; one with another key is a client's.
func TestTestKey(t *testing.T) {
	records := audit.New()
	seen := records.NewReader(16)
	seen.Want(resolver.Banned | resolver.Finished)
	key := []byte("0123456789abcdef")
	r := resolver.New(resolver.Options{State: newState(t, snapshot(t, nil), upstreamFunc(address)), TestKey: key, Audit: records, Devices: device.New(device.Options{}),
		Cache: cache.New(cache.Options{Entries: 1000, Bytes: 1 << 20})})
	counters := r.Stats().NewCounters()
	send := func(key string) {
		t.Helper()
		m := new(dns.Msg).SetQuestion("wechat.com.", dns.TypeA)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65001, Data: []byte(key)}}
		q := query(t, "wechat.com.", "10.0.0.1")
		var err error
		if q.Msg, err = m.Pack(); err != nil {
			t.Fatal(err)
		}
		got, o := ask(t, r, q)
		if got.Rcode != dns.RcodeNameError || len(got.IsEdns0().Option) == 0 {
			t.Errorf("key %q: %v", key, got)
		}
		counters.Observe(q, o, time.Microsecond)
	}
	blocked := func() (n uint64) {
		for _, slot := range r.Stats().Totals().Blocks {
			for _, x := range slot {
				n += x
			}
		}
		return n
	}
	recorded := func() (n int) {
		records.Drain()
		seen.Read(func(*audit.Record) { n++ })
		return n
	}
	send(string(key))
	if b, n := blocked(), recorded(); b != 0 || n != 0 {
		t.Errorf("with the key: %d blocked, %d recorded", b, n)
	}
	send("0123456789abcdeX")
	if b, n := blocked(), recorded(); b != 1 || n != 1 {
		t.Errorf("with another key: %d blocked, %d recorded", b, n)
	}
}
