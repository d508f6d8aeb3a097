package ops_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"rideau/resolver/ops"
)

// TestIndex: the path / lists every path, in the form that the client asks for, and each that it lists answers.
func TestIndex(t *testing.T) {
	o := healthy(t)
	h := ops.New(o).Handler()
	get := func(path, accept string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1"+path, nil)
		r.RemoteAddr = "127.0.0.1:1"
		if accept != "" {
			r.Header.Set("Accept", accept)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for accept, kind := range map[string]string{
		"": "text/plain", "*/*": "text/plain", "text/html,application/xhtml+xml,*/*;q=0.8": "text/html", "text/plain, text/html;q=0.5": "text/plain",
		"application/json": "application/json",
	} {
		w := get("/", accept)
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), kind) {
			t.Errorf("Accept: %s: %d %s", accept, w.Code, w.Header())
		}
		for _, path := range []string{"/healthz", "/readyz", "/metrics", "/version"} {
			if !strings.Contains(w.Body.String(), path) {
				t.Errorf("Accept: %s: no %s in\n%s", accept, path, w.Body)
			}
		}
	}
	var all []struct{ Method, Path, What string }
	if err := json.Unmarshal(get("/", "application/json").Body.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if w := get(e.Path, ""); w.Code == http.StatusNotFound || e.What == "" {
			t.Errorf("%+v: %d", e, w.Code)
		}
	}
	if w := get("/other", ""); w.Code != http.StatusNotFound {
		t.Errorf("another path: %d", w.Code)
	}
}

// TestListenFamily: 0.0.0.0 is IPv4 alone and [::] is IPv6 alone, as for DNS.
func TestListenFamily(t *testing.T) {
	bind := func(addr string) (*ops.Server, netip.AddrPort, error) {
		s := ops.New(ops.Options{})
		if err := s.Listen(addr); err != nil {
			return nil, netip.AddrPort{}, err
		}
		t.Cleanup(s.Close)
		return s, netip.MustParseAddrPort(s.Addrs()[0].String()), nil
	}
	_, four, err := bind("0.0.0.0:0")
	if err != nil || !four.Addr().Is4() {
		t.Fatalf("%v, %v", four, err)
	}
	_, six, err := bind("[::]:0")
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	// With the port of one family taken, the other is free.
	if _, _, err := bind(netip.AddrPortFrom(netip.IPv4Unspecified(), six.Port()).String()); err != nil && !strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
		t.Error(err)
	}
	if _, all, err := bind(":0"); err != nil || !all.Addr().Is6() {
		t.Errorf("%v, %v", all, err)
	}
}
