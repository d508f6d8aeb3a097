package resolvertest

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Upstream is a name server that answers as configured, on one port of 127.0.0.1
// for both UDP and TCP, and records its queries. The zero value is ready for
// Start. It is safe for concurrent use.
type Upstream struct {
	addr netip.AddrPort

	mu         sync.Mutex // guards what follows
	rules      []*rule
	asked      []Asked
	unexpected []Asked
	down       bool
	held       chan struct{} // closed on release; nil if nothing is held
}

// Asked is one query as it was received.
type Asked struct {
	Name      string // in the letter case and form in which it was received, with its last dot
	Type      uint16
	Class     uint16
	ID        uint16
	Transport string // "udp" or "tcp"
	From      netip.AddrPort
	RD        bool
	AD        bool
	CD        bool
	EDNS      bool
	DO        bool
	UDPSize   uint16      // 0 without EDNS
	Options   []dns.EDNS0 // of the OPT record
}

// Reply describes a response. The zero Reply is NOERROR without records.
type Reply struct {
	// When, if not nil, reports whether this Reply applies to a query.
	When func(Asked) bool
	// Times is how many queries it applies to; 0: all.
	Times int

	Rcode      int
	AA, AD, TC bool
	NoRA       bool // RA is not set, as in the responses of authoritative servers
	Answer     []dns.RR
	Authority  []dns.RR
	Additional []dns.RR
	Options    []dns.EDNS0 // of the OPT record, if the question had one
	NoEDNS     bool        // no OPT record, whether or not the query had one

	Delay   time.Duration
	Drop    bool // no answer at all
	Spoofed bool // by UDP, forged responses come first: one with a wrong id, then one with a wrong question
	Garbage bool // octets that are no message
}

// rule is a Reply and the question that it applies to.
type rule struct {
	name  string // folded; "*" is any
	qtype uint16 // dns.TypeNone is any
	reply Reply
	used  int
}

// Start binds the sockets and serves until the test ends.
func (u *Upstream) Start(t testing.TB) {
	t.Helper()
	pc, l := listen(t)
	u.addr = pc.LocalAddr().(*net.UDPAddr).AddrPort()
	servers := []*dns.Server{
		{PacketConn: pc, UDPSize: dns.MaxMsgSize, Handler: u.handler("udp")},
		{Listener: l, Handler: u.handler("tcp")},
	}
	for _, s := range servers {
		started, ended := make(chan struct{}), make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer close(ended)
			if err := s.ActivateAndServe(); err != nil {
				t.Errorf("fake upstream: %v", err)
			}
		}()
		select {
		case <-started:
		case <-ended:
		}
		t.Cleanup(func() {
			u.Release()
			s.Shutdown()
			<-ended
		})
	}
}

// listen finds a port that is free for UDP and TCP.
func listen(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	var err error
	for range 50 {
		var pc net.PacketConn
		if pc, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			break
		}
		var l net.Listener
		if l, err = net.Listen("tcp4", pc.LocalAddr().String()); err == nil {
			return pc, l
		}
		pc.Close()
	}
	t.Fatalf("fake upstream: no port: %v", err)
	return nil, nil
}

// Addr is the address of a started Upstream.
func (u *Upstream) Addr() netip.AddrPort { return u.addr }

// Handle adds replies to queries for a name and type; the name "*" and the type
// dns.TypeNone stand for any. The first Reply added that applies is used. A query
// without one gets REFUSED, and [Upstream.Unexpected] reports it.
func (u *Upstream) Handle(name string, qtype uint16, replies ...Reply) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, r := range replies {
		u.rules = append(u.rules, newRule(name, qtype, r))
	}
}

func newRule(name string, qtype uint16, r Reply) *rule {
	if name != "*" {
		name = fold(name)
	}
	return &rule{name: name, qtype: qtype, reply: r}
}

// Load replaces all replies by those in text, which is in the language of the
// upstream files of scenarios (README.md).
func (u *Upstream) Load(text string) error { return u.load(text, 1) }

func (u *Upstream) load(text string, first int) error {
	rules, err := parseRules(text, first)
	if err != nil {
		return err
	}
	u.mu.Lock()
	u.rules = rules
	u.mu.Unlock()
	return nil
}

// SetDown makes the Upstream stop or resume answering. Queries are recorded
// meanwhile.
func (u *Upstream) SetDown(down bool) {
	u.mu.Lock()
	u.down = down
	u.mu.Unlock()
}

// Hold delays all responses until Release.
func (u *Upstream) Hold() {
	u.mu.Lock()
	if u.held == nil {
		u.held = make(chan struct{})
	}
	u.mu.Unlock()
}

// Release sends the responses that Hold delayed.
func (u *Upstream) Release() {
	u.mu.Lock()
	if u.held != nil {
		close(u.held)
		u.held = nil
	}
	u.mu.Unlock()
}

// Queries are all queries received since the start, in order. A query that was
// repeated by TCP counts twice.
func (u *Upstream) Queries() []Asked {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.asked)
}

// Unexpected are the queries to which no Reply applied.
func (u *Upstream) Unexpected() []Asked {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.unexpected)
}

func (u *Upstream) handler(transport string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, m *dns.Msg) {
		a := newAsked(w, m, transport)
		reply, down, held := u.receive(a)
		if held != nil {
			<-held
		}
		if down || reply.Drop {
			w.Close() // closes the connection; does nothing to UDP
			return
		}
		time.Sleep(reply.Delay)
		if reply.Garbage {
			w.Write([]byte("\x12\x34garbage"))
			return
		}
		if reply.Spoofed && transport == "udp" {
			forge(w, m)
		}
		resp := reply.message(m, a)
		if transport == "udp" {
			// A response that does not fit is truncated, as by a real server.
			resp.Truncate(max(int(a.UDPSize), dns.MinMsgSize))
			resp.Compress = true // which Truncate undoes
		}
		w.WriteMsg(resp)
	}
}

func newAsked(w dns.ResponseWriter, m *dns.Msg, transport string) Asked {
	a := Asked{ID: m.Id, Transport: transport, RD: m.RecursionDesired, AD: m.AuthenticatedData, CD: m.CheckingDisabled}
	if len(m.Question) > 0 {
		q := m.Question[0]
		a.Name, a.Type, a.Class = q.Name, q.Qtype, q.Qclass
	}
	switch from := w.RemoteAddr().(type) {
	case *net.UDPAddr:
		a.From = from.AddrPort()
	case *net.TCPAddr:
		a.From = from.AddrPort()
	}
	if opt := m.IsEdns0(); opt != nil {
		a.EDNS, a.DO, a.UDPSize, a.Options = true, opt.Do(), opt.UDPSize(), opt.Option
	}
	return a
}

// receive records a query and finds its reply.
func (u *Upstream) receive(a Asked) (r Reply, down bool, held chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked = append(u.asked, a)
	if u.down {
		return r, true, nil
	}
	for _, x := range u.rules {
		if x.fits(a) {
			x.used++
			if x.name == "*" {
				return x.reply.of(a.Name), false, u.held
			}
			return x.reply, false, u.held
		}
	}
	u.unexpected = append(u.unexpected, a)
	return Reply{Rcode: dns.RcodeRefused}, false, u.held
}

// of is the Reply for any name, applied to one: the owner of its first answer is
// replaced by name, unless the Reply has answers of that name.
func (r Reply) of(name string) Reply {
	if len(r.Answer) == 0 || slices.ContainsFunc(r.Answer, func(rr dns.RR) bool { return fold(rr.Header().Name) == fold(name) }) {
		return r
	}
	first := r.Answer[0].Header().Name
	r.Answer = slices.Clone(r.Answer)
	for i, rr := range r.Answer {
		if rr.Header().Name == first {
			rr = dns.Copy(rr)
			rr.Header().Name = name
			r.Answer[i] = rr
		}
	}
	return r
}

func (x *rule) fits(a Asked) bool {
	return (x.name == "*" || x.name == fold(a.Name)) &&
		(x.qtype == dns.TypeNone || x.qtype == a.Type) &&
		(x.reply.Times == 0 || x.used < x.reply.Times) &&
		(x.reply.When == nil || x.reply.When(a))
}

// message encodes the Reply as the response to m.
func (r *Reply) message(m *dns.Msg, a Asked) *dns.Msg {
	resp := new(dns.Msg).SetReply(m)
	resp.RecursionAvailable, resp.CheckingDisabled = !r.NoRA, a.CD
	resp.Rcode, resp.Authoritative, resp.AuthenticatedData, resp.Truncated = r.Rcode, r.AA, r.AD, r.TC
	resp.Compress = true
	resp.Answer, resp.Ns, resp.Extra = spelt(r.Answer, a.Name), spelt(r.Authority, a.Name), slices.Clone(r.Additional)
	if a.EDNS && !r.NoEDNS {
		opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: r.Options}
		opt.SetUDPSize(4096)
		opt.SetDo(a.DO)
		resp.Extra = append(resp.Extra, opt)
	}
	return resp
}

// spelt is a copy of records, of which those of name have its letters, as they
// have from servers whose responses point to the name in the question.
func spelt(records []dns.RR, name string) []dns.RR {
	records = slices.Clone(records)
	for i, rr := range records {
		if owner := rr.Header().Name; owner != name && fold(owner) == fold(name) {
			records[i] = dns.Copy(rr)
			records[i].Header().Name = name
		}
	}
	return records
}

// forge sends the responses of an attacker who cannot see the query (RFC 5452
// section 3).
func forge(w dns.ResponseWriter, m *dns.Msg) {
	fake := Reply{Answer: []dns.RR{&dns.A{
		Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 86400},
		A:   net.IPv4(203, 0, 113, 66),
	}}}
	wrongID := fake.message(m, Asked{})
	wrongID.Id ^= 0x5555
	w.WriteMsg(wrongID)
	wrongName := fake.message(m, Asked{})
	wrongName.Question[0].Name = "forged.example."
	w.WriteMsg(wrongName)
}
