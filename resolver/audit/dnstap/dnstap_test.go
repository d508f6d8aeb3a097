package dnstap_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	golang "github.com/dnstap/golang-dnstap"
	framestream "github.com/farsightsec/golang-framestream"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"rideau/blocklists"
	"rideau/blocklists/entry"
	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/dnstap"
	"rideau/resolver/audit/names"
	"rideau/resolver/audit/schema"
	"rideau/resolver/audit/sink"
	"rideau/resolver/audit/spool"
)

func node() *schema.Node {
	return &schema.Node{Name: "ottawa-1", Run: "0123456789abcdef", Version: "1.0", TypeName: func(uint16) string { return "A" },
		RcodeName: func(uint16) string { return "NXDOMAIN" }}
}

func record() *audit.Record {
	r := &audit.Record{Number: 7, Time: time.Unix(1700000000, 5000), Duration: 1500 * time.Microsecond, Client: netip.MustParseAddr("192.0.2.7"),
		Group: "staff", Outcome: resolver.Blocked, Ban: "no-chat", List: "chat", Policy: names.Policy{Generation: 3, Fingerprint: "abc"}}
	r.SetName([]byte("\x03www\x06wechat\x03com\x00"))
	return r
}

func decode(t *testing.T, b []byte) *golang.Dnstap {
	t.Helper()
	d := new(golang.Dnstap)
	if err := proto.Unmarshal(b, d); err != nil {
		t.Fatal(err)
	}
	return d
}

// policy returns the fields of the Policy message, which golang-dnstap does not
// know; "" if there is none.
func policy(t *testing.T, m *golang.Message) string {
	t.Helper()
	for b := []byte(m.ProtoReflect().GetUnknown()); len(b) > 0; {
		field, _, n := protowire.ConsumeField(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		if field == 15 {
			_, _, tag := protowire.ConsumeTag(b)
			p, _ := protowire.ConsumeBytes(b[tag:])
			return fields(t, p)
		}
		b = b[n:]
	}
	return ""
}

func fields(t *testing.T, b []byte) string {
	var out []string
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		b = b[max(n, 0):]
		if kind == protowire.VarintType {
			v, n := protowire.ConsumeVarint(b)
			out, b = append(out, fmt.Sprintf("%d=%d", field, v)), b[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		out, b = append(out, fmt.Sprintf("%d=%q", field, v)), b[n:]
	}
	return strings.Join(out, " ")
}

func TestQuery(t *testing.T) {
	d := decode(t, dnstap.NewEncoder(node()).Query(nil, record()))
	m := d.GetMessage()
	if d.GetType() != golang.Dnstap_MESSAGE || string(d.GetIdentity()) != "ottawa-1" || string(d.GetVersion()) != "Rideau 1.0" {
		t.Errorf("%v", d)
	}
	if m.GetType() != golang.Message_CLIENT_RESPONSE || m.GetSocketFamily() != golang.SocketFamily_INET || m.GetSocketProtocol() != golang.SocketProtocol_UDP ||
		!bytes.Equal(m.GetQueryAddress(), []byte{192, 0, 2, 7}) || m.GetQueryTimeSec() != 1700000000 || m.GetQueryTimeNsec() != 5000 || m.GetResponseTimeNsec() != 1505000 ||
		m.QueryMessage != nil || m.ResponseMessage != nil {
		t.Errorf("%v", m)
	}
	if got, want := policy(t, m), `1="ban" 3=1 4=1 5="\x03www\x06wechat\x03com\x00"`; got != want {
		t.Errorf("policy %s, want %s", got, want)
	}
	var extra map[string]any
	if err := json.Unmarshal(d.GetExtra(), &extra); err != nil || extra["id"] != "0123456789abcdef-q7" || extra["name"] != "www.wechat.com." {
		t.Errorf("%v, %v", extra, err)
	}
	if b := dnstap.NewEncoder(node()).Act(nil, &act.Act{Kind: act.Start}); len(b) > 0 {
		t.Errorf("an act has a message: %x", b)
	}
}

func TestVariants(t *testing.T) {
	for what, c := range map[string]struct {
		set  func(*schema.Node, *audit.Record)
		want string // type, family, protocol, address; policy
	}{
		"no ban": {func(_ *schema.Node, r *audit.Record) { r.Ban = "" }, "CLIENT_RESPONSE INET UDP c0000207; "},
		"IPv6 TCP": {func(_ *schema.Node, r *audit.Record) {
			r.Ban, r.Client, r.Transport = "", netip.MustParseAddr("2001:db8::7"), resolver.TCP
		}, "CLIENT_RESPONSE INET6 TCP 20010db8000000000000000000000007; "},
		"dropped": {func(_ *schema.Node, r *audit.Record) { r.Outcome, r.Action = resolver.Dropped, blocklists.Drop },
			`CLIENT_QUERY INET UDP c0000207; 1="ban" 3=4 4=1 5="\x03www\x06wechat\x03com\x00"`},
		"refused":   {func(_ *schema.Node, r *audit.Record) { r.Action, r.InAnswer = blocklists.Refuse, true }, `CLIENT_RESPONSE INET UDP c0000207; 1="ban"`},
		"monitored": {func(_ *schema.Node, r *audit.Record) { r.Monitored, r.InAnswer = true, true }, `CLIENT_RESPONSE INET UDP c0000207; 1="ban" 3=3`},
		"zone": {func(_ *schema.Node, r *audit.Record) {
			r.ByZone, r.InAnswer, r.Trigger, r.Action = true, true, entry.OnNSIP, blocklists.LocalData
		}, `CLIENT_RESPONSE INET UDP c0000207; 1="RPZ" 3=6 4=5`},
		"pseudonym": {func(n *schema.Node, r *audit.Record) {
			r.Ban, n.Client = "", func(dst []byte, _ netip.Addr) []byte { return append(dst, "p1-0a"...) }
		}, "CLIENT_RESPONSE INET UDP ; "},
		"network": {func(n *schema.Node, r *audit.Record) {
			r.Ban, n.Client = "", func(dst []byte, _ netip.Addr) []byte { return append(dst, "192.0.2.0/24"...) }
		}, "CLIENT_RESPONSE INET UDP ; "},
	} {
		n, r := node(), record()
		c.set(n, r)
		m := decode(t, dnstap.NewEncoder(n).Query(nil, r)).GetMessage()
		got := fmt.Sprintf("%v %v %v %x; %s", m.GetType(), m.GetSocketFamily(), m.GetSocketProtocol(), m.GetQueryAddress(), policy(t, m))
		if got != c.want {
			t.Errorf("%s: got %s, want %s", what, got, c.want)
		}
	}
}

func TestAllocs(t *testing.T) {
	e, r, b := dnstap.NewEncoder(node()), record(), make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { b = e.Query(b[:0], r) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// reader reads Frame Streams from a socket.
type reader struct {
	l    net.Listener
	done sync.WaitGroup
	open []net.Conn

	mu  sync.Mutex
	got map[string]int
}

func listen(t *testing.T, path string) *reader {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{l: l, got: map[string]int{}}
	r.done.Add(1)
	go r.serve()
	return r
}

func (r *reader) serve() {
	defer r.done.Done()
	for {
		c, err := r.l.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.open = append(r.open, c)
		r.mu.Unlock()
		r.done.Add(1)
		go r.read(c)
	}
}

func (r *reader) read(c net.Conn) {
	defer r.done.Done()
	defer c.Close()
	in, err := framestream.NewReader(c, &framestream.ReaderOptions{ContentTypes: [][]byte{[]byte(dnstap.ContentType)}, Bidirectional: true})
	if err != nil {
		return
	}
	b := make([]byte, 1<<16)
	for {
		n, err := in.ReadFrame(b)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.got[string(b[:n])]++
		r.mu.Unlock()
	}
}

func (r *reader) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

// kill ends the reader and its connections without reading what they hold.
func (r *reader) kill() map[string]int {
	r.l.Close()
	r.mu.Lock()
	for _, c := range r.open {
		c.Close()
	}
	r.mu.Unlock()
	r.done.Wait()
	return r.got
}

func dialer(path string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", path) }
}

// numbers encodes acts as their numbers.
type numbers struct{}

func (numbers) Query(dst []byte, _ *audit.Record) []byte { return dst }
func (numbers) Act(dst []byte, a *act.Act) []byte        { return fmt.Append(dst, a.Number) }

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("after 30 s not: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// A reader that ends and begins again gets every event, those among them that it
// had not read when it ended.
func TestReaderRestarts(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	acts := act.New()
	k := sink.New(sink.Options{Name: "test", Acts: acts, Encoder: numbers{}, Writer: dnstap.NewStream(dialer(path)),
		Spool: func() (*spool.Spool, int64, error) { return spool.Open(dir, 1<<20) }})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() { defer close(ended); k.Run(ctx) }()
	got := map[string]int{}
	total := 0
	for round := range 3 {
		r := listen(t, path)
		for range 300 {
			acts.Add(act.Act{Kind: act.Flush})
		}
		total += 300
		if round < 2 {
			await(t, "the reader has something", func() bool { return r.count() > 0 })
		} else {
			await(t, "all events have arrived", func() bool {
				r.mu.Lock()
				defer r.mu.Unlock()
				for i := range total {
					if n := fmt.Sprint(i + 1); got[n] == 0 && r.got[n] == 0 {
						return false
					}
				}
				return true
			})
			cancel()
			<-ended
		}
		for n, times := range r.kill() {
			got[n] += times
		}
	}
	if st := k.Stats(); st.Kept+uint64(st.Waiting) != st.Offered {
		t.Errorf("%+v", st)
	}
}

// A reader that takes the connection and says nothing, and one that speaks of other
// contents, do not keep a Write from ending.
func TestBadReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	s := dnstap.NewStream(dialer(path))
	defer s.Close()
	if n, err := s.Write(ctx, [][]byte{[]byte("x")}); n != 0 || err == nil {
		t.Errorf("a silent reader: %d, %v", n, err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for range 2 { // the first is that from before
			c, err := l.Accept()
			if err != nil {
				return
			}
			framestream.NewReader(c, &framestream.ReaderOptions{ContentTypes: [][]byte{[]byte("other")}, Bidirectional: true})
			c.Close()
		}
	})
	if n, err := s.Write(t.Context(), [][]byte{[]byte("x")}); n != 0 || err == nil {
		t.Errorf("other contents: %d, %v", n, err)
	}
	served.Wait()
	if err := s.Settle(t.Context(), true); err != nil {
		t.Error(err)
	}
}

// What a reader had no time to read is given back, and nothing that it confirmed.
func TestGivenBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	r := listen(t, path)
	s := dnstap.NewStream(dialer(path))
	if n, err := s.Write(t.Context(), [][]byte{[]byte("a"), []byte("b")}); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if err := s.Settle(t.Context(), true); err != nil { // the reader confirms
		t.Fatal(err)
	}
	if n, err := s.Write(t.Context(), [][]byte{[]byte("c")}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	r.kill()
	var back *sink.Returned
	await(t, "the end is noticed", func() bool { return errors.As(s.Settle(t.Context(), false), &back) })
	if len(back.Events) != 1 || string(back.Events[0]) != "c" {
		t.Errorf("%q", back.Events)
	}
}

// Programs of Debian read what a Stream writes.
func TestDebianReaders(t *testing.T) {
	for _, p := range []string{"fstrm_capture", "dnstap-ldns"} {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("RIDEAU_CI") == "1" {
				t.Fatalf("%s is not installed", p)
			}
			t.Skipf("%s is not installed", p)
		}
	}
	dir := t.TempDir()
	path, file := filepath.Join(dir, "s"), filepath.Join(dir, "out")
	capture := exec.CommandContext(t.Context(), "fstrm_capture", "-t", dnstap.ContentType, "-u", path, "-w", file)
	var said bytes.Buffer
	capture.Stderr = &said
	if err := capture.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "fstrm_capture listens", func() bool { _, err := os.Stat(path); return err == nil })
	s, e := dnstap.NewStream(dialer(path)), dnstap.NewEncoder(node())
	var events [][]byte
	for i := range 100 {
		r := record()
		r.Number = uint64(i)
		if i%2 == 1 {
			r.Client = netip.MustParseAddr("2001:db8::7")
		}
		events = append(events, e.Query(nil, r))
	}
	await(t, "fstrm_capture takes events", func() bool { n, err := s.Write(t.Context(), events); return n == len(events) && err == nil })
	if err := s.Settle(t.Context(), true); err != nil {
		t.Errorf("the end: %v, %s", err, &said)
	}
	if err := capture.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	capture.Wait() // it was interrupted
	text, err := exec.CommandContext(t.Context(), "dnstap-ldns", "-y", "-r", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for want, times := range map[string]int{"type: CLIENT_RESPONSE": 100, `identity: "ottawa-1"`: 100, `query_address: "192.0.2.7"`: 50, `query_address: "2001:db8::7"`: 50} {
		if n := strings.Count(string(text), want); n != times {
			t.Errorf("%d times %s, want %d:\n%.500s", n, want, times, text)
		}
	}
}
