package fetch_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists/fetch"
)

// serve starts an HTTPS server, and returns it with the file of its certificate.
func serve(t *testing.T, h http.HandlerFunc) (*httptest.Server, string) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o666); err != nil {
		t.Fatal(err)
	}
	return s, ca
}

func client(t *testing.T, o fetch.Options) *fetch.Client {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	o.UserAgent = "rideau/test"
	c, err := fetch.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// nothingLeft fails the test if files are left in a folder.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s is left", e.Name())
	}
}

const content = "a.example\nb.example\n"

func TestGet(t *testing.T) {
	var got *http.Request
	s, ca := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2026 15:04:05 GMT")
		if r.Header.Get("If-None-Match") == `"1"` || r.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		io.WriteString(w, content)
	})
	c := client(t, fetch.Options{CAFile: ca})
	dir := t.TempDir()
	res, err := c.Get(context.Background(), fetch.Request{URL: s.URL, MaxBytes: 100, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(res.File)
	if err != nil || string(text) != content || res.Size != int64(len(content)) || res.SHA256 != sha256.Sum256([]byte(content)) {
		t.Errorf("%q, %v, %+v", text, err, res)
	}
	if filepath.Dir(res.File) != dir || res.ETag != `"1"` || res.LastModified == "" || got.UserAgent() != "rideau/test" {
		t.Errorf("%+v, agent %q", res, got.UserAgent())
	}
	os.Remove(res.File)
	for _, r := range []fetch.Request{{ETag: res.ETag}, {LastModified: res.LastModified}} {
		r.URL, r.MaxBytes, r.Dir = s.URL, 100, dir
		if res, err := c.Get(context.Background(), r); err != nil || !res.NotModified || res.File != "" {
			t.Errorf("%+v, %v", res, err)
		}
	}
	nothingLeft(t, dir)
}

// TestRefused: content that is not a list leaves no file, and the error says why.
func TestRefused(t *testing.T) {
	zip := func(w io.Writer, n int) {
		z := gzip.NewWriter(w)
		z.Write(bytes.Repeat([]byte("a.example\n"), n/10))
		z.Close()
	}
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		want  error  // if not nil
		text  string // in the error
	}{
		"web page by type": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			io.WriteString(w, content)
		}, fetch.ErrWebPage, "text/html"},
		"web page by content": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			io.WriteString(w, "\xef\xbb\xbf\r\n <!DOCTYPE HTML><title>Sign in</title>")
		}, fetch.ErrWebPage, "browser"},
		"empty":       {func(w http.ResponseWriter, r *http.Request) {}, fetch.ErrEmpty, ""},
		"white space": {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "\n \n") }, fetch.ErrEmpty, ""},
		"truncated": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, content)
		}, fetch.ErrTruncated, ""},
		"truncated chunks": {func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, content)
			w.(http.Flusher).Flush()
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.Close()
		}, fetch.ErrTruncated, ""},
		"truncated gzip": {func(w http.ResponseWriter, r *http.Request) {
			var b bytes.Buffer
			zip(&b, 100)
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(b.Bytes()[:b.Len()-10])
		}, fetch.ErrTruncated, ""},
		"too large": {func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 2000)) }, fetch.ErrTooLarge, "max_bytes"},
		"too large, and it does not say so": {func(w http.ResponseWriter, r *http.Request) {
			for range 100 {
				w.Write([]byte(strings.Repeat("a.example\n", 5)))
				w.(http.Flusher).Flush()
			}
		}, fetch.ErrTooLarge, "max_bytes"},
		"bomb": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			zip(w, 10_000_000)
		}, fetch.ErrTooLarge, "max_bytes"},
		"other encoding": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			io.WriteString(w, content)
		}, nil, `"br"`},
		"not found":     {http.NotFound, nil, "404 Not Found"},
		"not asked for": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotModified) }, nil, "304"},
		"part":          {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusPartialContent) }, nil, "206"},
		"slow":          {func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush(); <-r.Context().Done() }, context.DeadlineExceeded, "fetch.timeout"},
		"no answer":     {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, context.DeadlineExceeded, "fetch.timeout"},
		"circle":        {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, fetch.ErrRedirect, "5"},
		"to no encryption": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, fetch.ErrRedirect, "only https"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, ca := serve(t, c.serve)
			dir := t.TempDir()
			timeout := 10 * time.Second
			if c.want == context.DeadlineExceeded {
				timeout = 300 * time.Millisecond
			}
			res, err := client(t, fetch.Options{CAFile: ca, Timeout: timeout}).Get(context.Background(), fetch.Request{URL: s.URL, MaxBytes: 1000, Dir: dir})
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%+v, %v", res, err)
			}
			nothingLeft(t, dir)
			t.Log(err)
		})
	}
}

// TestGzip: compressed content is decompressed.
func TestGzip(t *testing.T) {
	s, ca := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("accepts %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		io.WriteString(z, content)
		z.Close()
	})
	res, err := client(t, fetch.Options{CAFile: ca}).Get(context.Background(), fetch.Request{URL: s.URL, MaxBytes: 100, Dir: t.TempDir()})
	if err != nil || res.SHA256 != sha256.Sum256([]byte(content)) {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestTrust: a server whose certificate is not trusted is refused, and so is http from another machine.
func TestTrust(t *testing.T) {
	s, ca := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, content) })
	get := func(o fetch.Options, url string, insecure bool) error {
		_, err := client(t, o).Get(context.Background(), fetch.Request{URL: url, MaxBytes: 100, Dir: t.TempDir(), Insecure: insecure})
		return err
	}
	if err := get(fetch.Options{}, s.URL, false); err == nil || !strings.Contains(err.Error(), "fetch.ca_file") {
		t.Error(err)
	}
	if err := get(fetch.Options{CAFile: ca}, "http://lists.example/", false); err == nil || !strings.Contains(err.Error(), "insecure_http") {
		t.Error(err)
	}
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
			return
		}
		io.WriteString(w, content)
	}))
	defer plain.Close()
	if err := get(fetch.Options{}, plain.URL, false); err != nil {
		t.Errorf("http from this machine: %v", err)
	}
	if err := get(fetch.Options{}, plain.URL+"/away", true); !errors.Is(err, fetch.ErrRedirect) {
		t.Errorf("from this machine elsewhere: %v", err)
	}
	for _, file := range []string{"none.pem", "fetch_test.go"} {
		if _, err := fetch.New(fetch.Options{CAFile: file}); err == nil || !strings.Contains(err.Error(), "fetch.ca_file") || !strings.Contains(err.Error(), ";") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// resolverFor answers A queries for one name.
func resolverFor(t *testing.T, name, addr string) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		switch {
		case q.Question[0].Name != name:
			m.Rcode = dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeA:
			rr, _ := dns.NewRR(name + " 60 IN A " + addr)
			m.Answer = append(m.Answer, rr)
		}
		w.WriteMsg(m)
	})}
	started := make(chan struct{})
	srv.NotifyStartedFunc = func() { close(started) }
	go srv.ActivateAndServe()
	<-started
	t.Cleanup(func() { srv.Shutdown() })
	return netip.MustParseAddrPort(pc.LocalAddr().String())
}

// TestBootstrap: only the bootstrap resolvers are asked, in order.
func TestBootstrap(t *testing.T) {
	s, ca := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, content) })
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	const host = "example.com" // httptest's certificate is for it, too
	good := resolverFor(t, host+".", "127.0.0.1")
	dead := netip.MustParseAddrPort("127.0.0.1:1")
	get := func(url string, servers ...netip.AddrPort) error {
		_, err := client(t, fetch.Options{CAFile: ca, Bootstrap: servers}).Get(context.Background(), fetch.Request{URL: url, MaxBytes: 100, Dir: t.TempDir()})
		return err
	}
	if err := get("https://"+host+":"+port, good); err != nil {
		t.Error(err)
	}
	if err := get("https://"+host+":"+port, dead, good); err != nil {
		t.Errorf("with a dead resolver first: %v", err)
	}
	for _, servers := range [][]netip.AddrPort{{good}, {dead}, nil} {
		err := get("https://nowhere.example:"+port, servers...)
		if err == nil || !strings.Contains(err.Error(), "fetch.bootstrap") {
			t.Errorf("%v: %v", servers, err)
		}
		t.Log(err)
	}
}

// TestProxy: with a proxy every request goes there, and the proxy looks up names.
func TestProxy(t *testing.T) {
	asked := ""
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.Host
		w.WriteHeader(http.StatusForbidden)
	}))
	defer proxy.Close()
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client(t, fetch.Options{Proxy: u}).Get(context.Background(), fetch.Request{URL: "https://lists.example/a.txt", MaxBytes: 100, Dir: t.TempDir()})
	if err == nil || asked != "CONNECT lists.example:443" {
		t.Errorf("asked %q, %v", asked, err)
	}
}

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{"": 0, "120": 2 * time.Minute, "soon": 0, "-1": 0} {
		s, ca := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", value)
			w.WriteHeader(http.StatusTooManyRequests)
		})
		_, err := client(t, fetch.Options{CAFile: ca}).Get(context.Background(), fetch.Request{URL: s.URL, MaxBytes: 100, Dir: t.TempDir()})
		var status *fetch.StatusError
		if !errors.As(err, &status) || status.Code != http.StatusTooManyRequests || status.After != want {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func TestDisplay(t *testing.T) {
	if got := fetch.Display("https://user:secret@lists.example/a?b=c"); got != "https://lists.example/a?b=c" {
		t.Error(got)
	}
}

// TestNext: the wait differs by up to a tenth, and grows with the failures, from one minute.
func TestNext(t *testing.T) {
	for _, c := range []struct {
		s         fetch.Schedule
		low, high time.Duration
	}{
		{fetch.Schedule{Refresh: time.Hour}, 54 * time.Minute, 66 * time.Minute},
		{fetch.Schedule{Refresh: time.Minute}, time.Minute, 66 * time.Second},
		{fetch.Schedule{Refresh: 0}, time.Minute, 66 * time.Second},
		{fetch.Schedule{Refresh: time.Hour, Failures: 1}, time.Minute, 66 * time.Second},
		{fetch.Schedule{Refresh: time.Hour, Failures: 3}, 216 * time.Second, 264 * time.Second},
		{fetch.Schedule{Refresh: time.Hour, Failures: 1000}, 54 * time.Minute, 66 * time.Minute},
		{fetch.Schedule{Refresh: time.Hour, Failures: 1, After: 10 * time.Minute}, 9 * time.Minute, 11 * time.Minute},
		{fetch.Schedule{Refresh: time.Hour, Failures: 1, After: 1000 * time.Hour}, 21*time.Hour + 36*time.Minute, 27 * time.Hour},
	} {
		for _, u := range []float64{0, 0.25, 0.5, 1} {
			if got := c.s.Next(u); got < c.low || got > c.high+time.Millisecond {
				t.Errorf("%+v at %g: %v, want %v to %v", c.s, u, got, c.low, c.high)
			}
		}
		if c.s.Next(0) > c.s.Next(1) {
			t.Errorf("%+v does not spread", c.s)
		}
	}
}
