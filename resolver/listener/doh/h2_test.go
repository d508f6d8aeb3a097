package doh_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"rideau/resolver/listener/admission"
	"rideau/resolver/listener/doh"
)

// raw is a connection by HTTP/2 of which a test reads the frames itself.
type raw struct {
	*http2.Framer
	t    *testing.T
	conn *tls.Conn
	pack *hpack.Encoder
	buf  bytes.Buffer
}

func (s *server) raw(t *testing.T, over func(net.Conn) net.Conn, settings ...http2.Setting) *raw {
	t.Helper()
	tcp, err := net.Dial("tcp", s.tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(over(tcp), &tls.Config{RootCAs: s.ca.Pool(), ServerName: "dns.example", NextProtos: []string{"h2"}})
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, http2.ClientPreface)
	r := &raw{Framer: http2.NewFramer(c, c), t: t, conn: c}
	r.pack = hpack.NewEncoder(&r.buf)
	r.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.WriteSettings(settings...)
	return r
}

// get sends a request for a query.
func (r *raw) get(w *http2.Framer, id uint32, msg []byte) {
	r.buf.Reset()
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":path", "/dns-query?dns=" + encoded(msg)}} {
		r.pack.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	w.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.buf.Bytes(), EndStream: true, EndHeaders: true})
}

// next returns the next frame of a kind.
func next[T http2.Frame](r *raw) T {
	r.t.Helper()
	for {
		f, err := r.ReadFrame()
		if err != nil {
			r.t.Fatal(err)
		}
		if x, ok := f.(T); ok {
			return x
		}
	}
}

// TestWindows: a client gets no more of a response than it takes, on its stream and on its connection, and
// the rest when it takes more. Meanwhile others are answered.
func TestWindows(t *testing.T) {
	s := serve(t, nil)
	s.fake.add = func(m []byte) []byte { return append(m, make([]byte, 40_000)...) }
	r := s.raw(t, func(c net.Conn) net.Conn { return c }, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	r.get(r.Framer, 1, query(""))
	if h := next[*http2.MetaHeadersFrame](r); h.PseudoValue("status") != "200" {
		t.Errorf("%v", h)
	}
	size := func(f *http2.DataFrame) int { return len(f.Data()) }
	if f := next[*http2.DataFrame](r); size(f) != 10 || f.StreamEnded() {
		t.Fatalf("%d octets", size(f))
	}
	r.WriteWindowUpdate(1, 5)
	if f := next[*http2.DataFrame](r); size(f) != 5 || f.StreamEnded() {
		t.Fatalf("%d octets", size(f))
	}
	r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100_000})
	got := 15
	for ended := false; !ended; {
		f := next[*http2.DataFrame](r)
		got += size(f)
		ended = f.StreamEnded()
	}
	if got != len(query(""))+40_000 {
		t.Errorf("%d octets", got)
	}
	r.get(r.Framer, 3, query("")) // the connection's window of 65,535 is all but used up
	got = 0
	for got < 65_535-40_029 {
		got += size(next[*http2.DataFrame](r))
	}
	r.WritePing(false, [8]byte{1})
	if f := next[*http2.PingFrame](r); f.Data[0] != 1 {
		t.Error("the ping")
	}
	r.WriteWindowUpdate(0, 100_000)
	for ended := false; !ended; {
		f := next[*http2.DataFrame](r)
		got += size(f)
		ended = f.StreamEnded()
	}
	if got != 40_029 {
		t.Errorf("%d octets", got)
	}
	r.get(r.Framer, 5, query("d"))
	if h := next[*http2.MetaHeadersFrame](r); h.PseudoValue("status") != "429" {
		t.Errorf("%v", h)
	}
}

// counted counts the records that come on a connection.
type counted struct {
	net.Conn
	in bytes.Buffer
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in.Write(b[:n])
	return n, err
}

func (c *counted) records() (n int) {
	for b := c.in.Bytes(); len(b) >= 5; n++ {
		b = b[min(len(b), 5+int(binary.BigEndian.Uint16(b[3:]))):]
	}
	c.in.Reset()
	return n
}

// TestBatch: the responses to requests that come at once leave with one record. A request that
// waits is answered when it is ready, and those beyond the streams that may be open are refused.
func TestBatch(t *testing.T) {
	s := serve(t, func(o *doh.Options, _ *admission.Limits) { o.MaxStreams = 5 })
	var meter *counted
	r := s.raw(t, func(c net.Conn) net.Conn { meter = &counted{Conn: c}; return meter })
	next[*http2.SettingsFrame](r)
	next[*http2.SettingsFrame](r)
	meter.records()
	var burst bytes.Buffer
	w := http2.NewFramer(&burst, nil)
	for i := range uint32(10) {
		r.get(w, 1+2*i, query(""))
	}
	r.conn.Write(burst.Bytes())
	for i := range uint32(10) {
		if f := next[*http2.DataFrame](r); f.StreamID != 1+2*i || !f.StreamEnded() {
			t.Errorf("response %d is on stream %d", i, f.StreamID)
		}
	}
	if n := meter.records(); n != 1 {
		t.Errorf("%d records", n)
	}
	for i := range uint32(6) {
		r.get(r.Framer, 101+2*i, query("w"))
	}
	if f := next[*http2.RSTStreamFrame](r); f.StreamID != 111 || f.ErrCode != http2.ErrCodeRefusedStream {
		t.Errorf("%v", f)
	}
	close(s.fake.release)
	for range 5 {
		next[*http2.DataFrame](r)
	}
}

// TestRandomFrames: frames of any kind, in any order, with any flags, streams and contents, cost
// their connection at most.
func TestRandomFrames(t *testing.T) {
	s := serve(t, func(o *doh.Options, _ *admission.Limits) { o.Drain = 100 * time.Millisecond })
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	deadline := time.Now().Add(500 * time.Millisecond)
	for n := 0; n < 5 || time.Now().Before(deadline); n++ {
		r := s.raw(t, func(c net.Conn) net.Conn { return c })
		go io.Copy(io.Discard, r.conn)
		for range 200 {
			id := uint32(random.IntN(12))
			var err error
			switch random.IntN(7) {
			case 0:
				r.get(r.Framer, id, query([]string{"", "w", "d"}[random.IntN(3)]))
			case 1:
				r.get(r.Framer, uint32(n*1000+random.IntN(1000)), query(""))
			case 2:
				err = r.WriteRawFrame(http2.FrameWindowUpdate, 0, id, binary.BigEndian.AppendUint32(nil, random.Uint32()>>random.IntN(32)))
			case 3:
				setting := binary.BigEndian.AppendUint16(nil, uint16(random.IntN(8)))
				err = r.WriteRawFrame(http2.FrameSettings, http2.Flags(random.IntN(2)), 0, binary.BigEndian.AppendUint32(setting, random.Uint32()>>random.IntN(32)))
			case 4:
				body := make([]byte, random.IntN(40))
				for i := range body {
					body[i] = byte(random.IntN(256))
				}
				err = r.WriteRawFrame(http2.FrameType(random.IntN(12)), http2.Flags(random.IntN(256)), id, body)
			case 5:
				err = r.WriteRawFrame(http2.FrameData, http2.Flags(random.IntN(2)), id, make([]byte, random.IntN(2000)))
			case 6:
				err = r.WriteRSTStream(id|1, http2.ErrCodeCancel)
			}
			if err != nil {
				break
			}
		}
		r.conn.Close()
	}
	if n := s.tcp.Stats().Panics; n > 0 {
		t.Errorf("%d panics, with seed %d", n, seed)
	}
	c := s.clients(t)["HTTP 2"]
	if res, _ := c.do(t, "GET", "/dns-query?dns="+encoded(query("")), nil); res.StatusCode != 200 {
		t.Errorf("%d", res.StatusCode)
	}
	close(s.fake.release)
	s.fake.await(t, 0)
}
