package ops_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rideau/resolver/ops"
)

// Whatever a request asks for, its Host is one that DNS rebinding cannot produce, or
// one that is configured, or it has the token.
func TestHost(t *testing.T) {
	o := healthy(t)
	o.Guard, o.Pprof = guard(token, "rideau", "dns.example"), true
	s := ops.New(o)
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/version", "/nothing"} {
		for host, fine := range map[string]bool{
			"": true, "127.0.0.1:5380": true, "[::1]:5380": true, "192.0.2.1": true, "localhost:5380": true, "LOCALHOST": true, "rideau:5380": true,
			"DNS.example.": true, "evil.example": false, "evil.example:5380": false, "127.0.0.1.evil.example": false, "localhost.evil.example:5380": false,
			"a.dns.example": false, "ride": false,
		} {
			r := request("GET", path)
			r.Host = host
			if code := ask(s, r).Code; (code != 403) != fine {
				t.Errorf("%s, host %q: %d", path, host, code)
			}
			r.Header.Set("Authorization", "Bearer "+token)
			if code := ask(s, r).Code; code == 403 {
				t.Errorf("%s, host %q, with the token: %d", path, host, code)
			}
		}
	}
}

// Profiles need the token if one is set, and are for this machine alone otherwise.
func TestProfileAccess(t *testing.T) {
	for _, tt := range accessCases() {
		o := healthy(t)
		o.Guard, o.Pprof = guard(tt.token), true
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/heap?debug=1"} {
			r := request("GET", path, tt.headers...)
			if tt.change != nil {
				tt.change(r)
			}
			if strings.Contains(tt.name, "web page") || r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
				continue // what reads is let through by origin: no site can read the reply
			}
			if w := ask(ops.New(o), r); (w.Code == 200) != (tt.refused == "") {
				t.Errorf("%s: %s: %d %s", tt.name, path, w.Code, w.Body)
			}
		}
	}
}

// Refused requests are logged once a second, and not each.
func TestRefusalsLogged(t *testing.T) {
	o := healthy(t)
	var log strings.Builder
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	o.Guard = guard(token)
	o.Flush = func(context.Context, ops.Flush) (int, error) { return 0, nil }
	s := ops.New(o)
	began := time.Now()
	for range 2000 {
		ask(s, request("POST", "/cache/flush?all=true"))
	}
	if n, most := strings.Count(log.String(), "\n"), 1+int(time.Since(began)/time.Second); n == 0 || n > most {
		t.Errorf("%d lines, at most %d", n, most)
	}
}

// serveBoth serves a Server, and returns its address and that of its Unix socket.
func serveBoth(t *testing.T, o ops.Options) (addr, socket string) {
	t.Helper()
	s := ops.New(o)
	socket = filepath.Join(t.TempDir(), "ops.sock")
	if err := s.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := s.ListenSocket(socket); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(socket); err == nil {
			t.Error("the socket is left")
		}
	})
	return s.Addrs()[0].String(), socket
}

// By the Unix socket, which only its owner can open, no token is needed. A socket that
// was left is replaced, one that is served and other files are not.
func TestSocket(t *testing.T) {
	o := healthy(t)
	o.Guard = guard(token)
	flushed := 0
	o.Flush = func(context.Context, ops.Flush) (int, error) { flushed++; return 1, nil }
	addr, socket := serveBoth(t, o)
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }}}
	for _, host := range []string{"localhost", "any.example"} {
		resp, err := client.Post("http://"+host+"/cache/flush?all=true", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("by the socket: %d", resp.StatusCode)
		}
	}
	resp, err := http.Post("http://"+addr+"/cache/flush?all=true", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 403 || flushed != 2 {
		t.Errorf("over TCP without the token: %d, %d flushes", resp.StatusCode, flushed)
	}
	if err := ops.New(o).ListenSocket(socket); err == nil || !strings.Contains(err.Error(), "another process serves") {
		t.Errorf("a socket that is served: %v", err)
	}
	file := filepath.Join(filepath.Dir(socket), "file")
	os.WriteFile(file, nil, 0o600)
	if err := ops.New(o).ListenSocket(file); err == nil {
		t.Error("a file is replaced")
	}
	left := filepath.Join(filepath.Dir(socket), "left")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: left, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	s := ops.New(o)
	if err := s.ListenSocket(left); err != nil {
		t.Errorf("a socket that was left: %v", err)
	}
	s.Close()
}

// However many connect and do not ask, few connections are open, and who asks is
// answered.
func TestConnectionsBounded(t *testing.T) {
	addr, _ := serveBoth(t, healthy(t))
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for i := range 300 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		if i%2 == 0 {
			fmt.Fprint(c, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
		}
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	for range 20 {
		resp, err := client.Get("http://" + addr + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	for i, c := range conns[:len(conns)-64] { // the newest may be open
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err != io.EOF && !strings.Contains(err.Error(), "reset") {
			t.Fatalf("connection %d is open: %v", i, err)
		}
	}
}
