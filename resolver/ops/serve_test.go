package ops_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"rideau/resolver/ops"
)

// serve starts a Server on a free port. end stops it and returns what Serve
// returned.
func serve(t *testing.T, o ops.Options) (base string, s *ops.Server, end func() error) {
	t.Helper()
	s = ops.New(o)
	if err := s.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(cancel)
	return "http://" + s.Addrs()[0].String(), s, func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(20 * time.Second):
			return errors.New("Serve does not end")
		}
	}
}

// get sends a request over a new connection.
func get(t *testing.T, method, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(body)
}

func TestServe(t *testing.T) {
	base, s, end := serve(t, healthy(t))
	if status, body := get(t, "GET", base+"/readyz"); status != 200 || body != "ready\n" {
		t.Errorf("got %d %q", status, body)
	}
	s.Drain() // before the end, while everything else goes on
	if status, body := get(t, "GET", base+"/readyz"); status != 503 || body != "shutting down\n" {
		t.Errorf("draining: got %d %q", status, body)
	}
	if status, _ := get(t, "GET", base+"/metrics"); status != 200 {
		t.Errorf("metrics while draining: %d", status)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", s.Addrs()[0].String()); err == nil {
		c.Close()
		t.Error("still listening")
	}
}

// A request in progress when the Server is to end is answered.
func TestGracefulStop(t *testing.T) {
	o := healthy(t)
	o.Grace = 10 * time.Second
	entered, leave := make(chan struct{}), make(chan struct{})
	o.Reload = func(ctx context.Context, _ ops.ReloadOptions) (ops.ReloadResult, error) {
		close(entered)
		<-leave
		return ops.ReloadResult{Changed: true}, ctx.Err()
	}
	base, s, end := serve(t, o)
	type answer struct {
		status int
		body   string
	}
	got := make(chan answer, 1)
	go func() {
		status, body := get(t, "POST", base+"/reload")
		got <- answer{status, body}
	}()
	<-entered
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	for { // until the listener is closed
		c, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			break
		}
		c.Close()
	}
	close(leave)
	if a := <-got; a != (answer{200, "reloaded\n"}) {
		t.Errorf("got %v", a)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// The context of a request that outlasts the grace ends.
func TestStopEndsRequests(t *testing.T) {
	o := healthy(t)
	o.Grace = time.Millisecond
	entered, told := make(chan struct{}), make(chan struct{})
	o.Reload = func(ctx context.Context, _ ops.ReloadOptions) (ops.ReloadResult, error) {
		close(entered)
		<-ctx.Done()
		close(told)
		return ops.ReloadResult{}, ctx.Err()
	}
	base, _, end := serve(t, o)
	go func() {
		if resp, err := http.Post(base+"/reload", "", nil); err == nil { // it may come to that or not
			resp.Body.Close()
		}
	}()
	<-entered
	if err := end(); err != nil {
		t.Error(err)
	}
	<-told
}

// A client that never finishes its request does not hold a connection.
func TestSlowClient(t *testing.T) {
	o := healthy(t)
	o.Timeout = 50 * time.Millisecond
	_, s, end := serve(t, o)
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); isTimeout(err) {
		t.Error("the connection stays open")
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

func TestListenErrors(t *testing.T) {
	first := ops.New(ops.Options{})
	if err := first.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	taken := first.Addrs()[0].String()
	for addr, want := range map[string][]string{
		taken:             {"listen on tcp " + taken + ": ", "in use", "ops.listen"},
		"192.0.2.1:5380":  {"192.0.2.1:5380", "ops.listen to an address of this machine"},
		"127.0.0.1:99999": {"listen on tcp 127.0.0.1:99999: ", "invalid port"},
	} {
		err := ops.New(ops.Options{}).Listen(addr)
		if err == nil {
			t.Errorf("%s: no error", addr)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", addr, err, w)
			}
		}
	}
	if err := ops.New(ops.Options{}).Serve(context.Background()); err == nil {
		t.Error("Serve without Listen is no error")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // ended before it began: closes what was bound
	if err := first.Serve(ctx); err != nil {
		t.Error(err)
	}
	again := ops.New(ops.Options{})
	if err := again.Listen(taken); err != nil {
		t.Error(err)
	}
	if err := again.Serve(ctx); err != nil {
		t.Error(err)
	}
}

// Profiles may take longer than other requests.
func TestPprofOutlastsTimeout(t *testing.T) {
	t.Parallel()
	o := healthy(t)
	o.Pprof = true
	o.Timeout = 500 * time.Millisecond
	base, _, end := serve(t, o)
	if status, body := get(t, "GET", base+"/debug/pprof/goroutine?seconds=1"); status != 200 || body == "" {
		t.Errorf("got %d %q", status, body)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}
