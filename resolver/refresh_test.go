package resolver_test

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver"
)

// A flood of made-up names below one that does not exist costs upstream one
// question, and nothing is allocated for it.
func TestFloodBelowWhatIsNotThere(t *testing.T) {
	var asked atomic.Int32
	r := newResolver(t, upstreamFunc(func(q *dns.Msg) (*dns.Msg, error) {
		asked.Add(1)
		m := new(dns.Msg).SetRcode(q, dns.RcodeNameError)
		soa, err := dns.NewRR("example.org. 300 IN SOA ns.example.org. host.example.org. 1 3600 600 86400 300")
		m.Ns = append(m.Ns, soa)
		return m, err
	}))
	ask(t, r, query(t, "gone.example.org.", "10.0.0.1"))
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		q := query(t, fmt.Sprintf("%x.%x.gone.example.org.", rnd.Uint64(), rnd.Uint32()), "10.0.0.1")
		if m, o := ask(t, r, q); o.Kind != resolver.Cached || m.Rcode != dns.RcodeNameError {
			t.Fatalf("outcome %v: %v", o.Kind, m)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("upstream was asked %d times", n)
	}
	q := query(t, "abc.gone.example.org.", "10.0.0.1")
	buf := make([]byte, 0, 1232)
	if n := testing.AllocsPerRun(100, func() { r.Answer(buf, q) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	q.Received = q.Received.Add(300 * time.Second)
	if _, o := r.Answer(buf, q); o.Kind != resolver.Pending {
		t.Errorf("outcome %v after its time", o.Kind)
	}
}
