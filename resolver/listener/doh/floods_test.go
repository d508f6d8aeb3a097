package doh_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"rideau/resolver/listener/admission"
	"rideau/resolver/listener/doh"
)

// frames is a client that writes frames of HTTP/2.
type frames struct {
	*http2.Framer
	conn   *tls.Conn
	buf    bytes.Buffer
	pack   *hpack.Encoder
	stream uint32
	ended  chan error // what reading ended with
	goaway chan http2.ErrCode
}

func (s *server) frames(t *testing.T, settings ...http2.Setting) *frames {
	t.Helper()
	c, err := tls.Dial("tcp", s.tcp.Addr().String(), &tls.Config{RootCAs: s.ca.Pool(), ServerName: "dns.example", NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, http2.ClientPreface)
	f := &frames{Framer: http2.NewFramer(c, c), conn: c, stream: 1, ended: make(chan error, 1), goaway: make(chan http2.ErrCode, 100)}
	f.pack = hpack.NewEncoder(&f.buf)
	f.WriteSettings(settings...)
	go func() {
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				f.ended <- err
				return
			}
			if g, ok := frame.(*http2.GoAwayFrame); ok {
				f.goaway <- g.ErrCode
			}
		}
	}()
	return f
}

// headers is a header block of a POST, or of a GET of a query that waits.
func (f *frames) headers(post bool) []byte {
	f.buf.Reset()
	fields := []string{":method", "GET", ":scheme", "https", ":authority", "dns.example", ":path", "/dns-query?dns=" + encoded(query("w"))}
	if post {
		fields[1], fields[7] = "POST", "/dns-query"
		fields = append(fields, "content-type", "application/dns-message")
	}
	for i := 0; i < len(fields); i += 2 {
		f.pack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return f.buf.Bytes()
}

// TestFloods: floods of frames end their connection, or cost little. Meanwhile others are
// served, and nothing is left after.
func TestFloods(t *testing.T) {
	floods := map[string]struct {
		settings []http2.Setting
		send     func(f *frames) error // once
		ends     bool                  // by the server
	}{
		"rapid reset": {nil, func(f *frames) error {
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: f.stream, BlockFragment: f.headers(false), EndStream: true, EndHeaders: true})
			err := f.WriteRSTStream(f.stream, http2.ErrCodeCancel)
			f.stream += 2
			return err
		}, false},
		"CONTINUATION": {nil, func(f *frames) error {
			if f.stream == 1 {
				f.stream = 3
				f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.headers(false)})
			}
			f.buf.Reset()
			f.pack.WriteField(hpack.HeaderField{Name: "x", Value: string(bytes.Repeat([]byte{'y'}, 1000)), Sensitive: true})
			return f.WriteContinuation(1, false, f.buf.Bytes())
		}, true},
		"SETTINGS": {nil, func(f *frames) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
		}, false},
		"PING":     {nil, func(f *frames) error { return f.WritePing(false, [8]byte{}) }, false},
		"PRIORITY": {nil, func(f *frames) error { return f.WritePriority(1, http2.PriorityParam{StreamDep: 3}) }, false},
		"empty DATA": {nil, func(f *frames) error {
			if f.stream == 1 {
				f.stream = 3
				f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.headers(true), EndHeaders: true})
			}
			return f.WriteData(1, false, nil)
		}, false},
		"a window of nothing": {[]http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}, func(f *frames) error {
			err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: f.stream, BlockFragment: f.headers(true), EndHeaders: true})
			f.WriteData(f.stream, true, query(""))
			f.stream += 2
			return err
		}, false},
		"a frame size of 0": {[]http2.Setting{{ID: http2.SettingMaxFrameSize, Val: 0}}, func(f *frames) error { return f.WritePing(false, [8]byte{}) }, true},
		"headers that never end": {nil, func(f *frames) error {
			if f.stream == 1 {
				f.stream = 3
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.headers(false)[:3]})
			}
			time.Sleep(time.Millisecond) // sleeps: the client is slow
			return nil
		}, true},
	}
	for name, flood := range floods {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(o *doh.Options, _ *admission.Limits) {
				o.MessageTimeout, o.WriteTimeout, o.IdleTimeout, o.Drain = 500*time.Millisecond, time.Second, 500*time.Millisecond, 100*time.Millisecond
			})
			c := s.clients(t)["HTTP 2"]
			c.do(t, "GET", "/dns-query?dns="+encoded(query("")), nil)
			before := runtime.NumGoroutine()
			var mem, now runtime.MemStats
			runtime.ReadMemStats(&mem)
			f := s.frames(t, flood.settings...)
			ended := false
			for end := time.Now().Add(150 * time.Millisecond); !ended && time.Now().Before(end); {
				for range 100 {
					if flood.send(f) != nil {
						ended = true
						break
					}
				}
				if n := runtime.NumGoroutine() - before; n > 60 {
					t.Fatalf("%d goroutines more", n)
				}
			}
			start := time.Now()
			c.do(t, "GET", "/dns-query?dns="+encoded(query("")), nil)
			if d := time.Since(start); d > time.Second {
				t.Errorf("another client waited for %v", d)
			}
			runtime.ReadMemStats(&now)
			if grown := int64(now.HeapInuse) - int64(mem.HeapInuse); grown > 24<<20 {
				t.Errorf("%d octets more of memory", grown)
			}
			if flood.ends {
				select {
				case <-f.ended:
				case <-f.goaway:
				case <-time.After(5 * time.Second):
					t.Error("the connection goes on")
				}
			}
			f.conn.Close()
			if s.fake.waits() > 20 {
				t.Errorf("%d queries wait", s.fake.waits())
			}
			close(s.fake.release)
			s.fake.await(t, 0)
		})
	}
}
