package resolver_test

import (
	"context"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/mux"
)

// held is a Multiplexer that begins calls and never ends them, or panics.
type held struct {
	calls []*mux.Call
	fault bool
}

func (h *held) Start(c *mux.Call, _ upstream.Upstream, _ []byte, _ time.Time) bool {
	if h.fault {
		panic("told to")
	}
	h.calls = append(h.calls, c)
	return true
}

// taken are the queries that came back.
type taken struct {
	t       *testing.T
	r       *resolver.Resolver
	fault   bool
	resumed []resolver.Query
}

func (k *taken) Buffer() []byte { return make([]byte, 0, 4096) }

func (k *taken) Answered(uint32, *resolver.Query, []byte, resolver.Outcome) { k.t.Error("answered") }

func (k *taken) HandOver(_ uint32, q *resolver.Query) {
	if k.fault {
		k.fault = false
		panic("told to")
	}
	k.resumed = append(k.resumed, *q)
	k.resumed[len(k.resumed)-1].Msg = append([]byte(nil), q.Msg...)
}

// TestMissesRecover: after a panic all queries that wait are asked anew, an
// exchange that had just begun ends, and a second panic costs one query alone.
func TestMissesRecover(t *testing.T) {
	r := newResolver(t, upstreamFunc(address))
	back, sender := &taken{t: t, r: r, fault: true}, new(held)
	ms := r.NewMisses(back)
	ms.SetMultiplexer(sender)
	begin := func(name string) {
		q := query(t, name, "10.0.0.1")
		if _, o := r.Answer(nil, q); o.Kind != resolver.Pending {
			t.Fatalf("%s: %v", name, o.Kind)
		}
		ms.Begin(q)
	}
	for _, name := range []string{"a.example.", "b.example.", "c.example."} {
		begin(name)
	}
	sender.fault = true
	func() {
		defer func() { recover() }()
		begin("d.example.")
	}()
	ms.Recover()
	if ms.Waiting() != 0 || len(back.resumed) != 2 || r.Panics() != 1 {
		t.Errorf("%d wait, %d are resumed, %d panics", ms.Waiting(), len(back.resumed), r.Panics())
	}
	for _, q := range back.resumed {
		if _, o := r.Resolve(context.Background(), nil, &q); o.Kind != resolver.Forwarded {
			t.Errorf("%v", o.Kind)
		}
	}
	// Pending queries have ended: no query for the same question waits in vain.
	for _, name := range []string{"a.example.", "d.example."} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		q := query(t, name, "10.0.0.1")
		out, o := r.Answer(nil, q)
		if o.Kind == resolver.Pending {
			out, o = r.Resolve(ctx, nil, q)
		}
		m := new(dns.Msg)
		if err := m.Unpack(out); err != nil || m.Rcode != dns.RcodeSuccess {
			t.Errorf("%s: %v, %v", name, o.Kind, err)
		}
		cancel()
	}
	sender.fault, sender.calls = false, nil
	for range 16 { // as many tickets as before
		begin("e" + string(rune('a'+len(sender.calls))) + ".example.")
	}
	tags := map[uint32]bool{}
	for _, c := range sender.calls {
		tags[c.Tag] = true
	}
	if len(tags) != 16 || ms.Waiting() != 16 {
		t.Errorf("%d tickets, %d wait", len(tags), ms.Waiting())
	}
}
