package listener_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"rideau/resolver"
	"rideau/resolver/limit"
	"rideau/resolver/listener/session"
	"rideau/resolver/wire"
)

// A handler of DNS over HTTPS needs no more than an Exchange: it calls a resolver
// with the octets of a request, for many requests at a time.
func TestExchangeBehindHTTP(t *testing.T) {
	m := newMirror(t)
	m.hold()
	const n, most = 60, 40 // queries, and how many may wait
	stats := new(resolver.Stats)
	core := session.New(forwarder(t, patient, m), limit.NewWaitLimit(most), session.NewLog(slog.New(slog.DiscardHandler)))
	exchange := core.NewExchange(stats.NewCounters())
	core.Begin(t.Context())
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		msg, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 65535))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		from := netip.MustParseAddrPort(r.RemoteAddr)
		response := exchange.Serve(r.Context(), nil, msg, session.Client{Addr: from.Addr(), Transport: resolver.TCP})
		w.Header().Set("Content-Type", "application/dns-message")
		w.Write(response)
	}))
	defer web.Close()
	post := func(ctx context.Context, msg []byte) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, "POST", web.URL, bytes.NewReader(msg))
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		return io.ReadAll(resp.Body)
	}
	// The query of a client that gives up does not wait any more.
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { _, err := post(ctx, miss(t, 1000)); left <- err }()
	eventually(t, "it waits", func() bool { return core.Waiting() == 1 })
	leave()
	if err := <-left; err == nil {
		t.Error("a response without an answer from upstream")
	}
	eventually(t, "it waits no more", func() bool { return core.Waiting() == 0 })

	var all sync.WaitGroup
	var mu sync.Mutex
	rcodes := map[wire.Rcode]int{}
	for id := range uint16(n) {
		all.Go(func() {
			a, err := post(t.Context(), miss(t, id))
			if err != nil || wire.ID(a) != id || !wire.Matches(miss(t, id), a) {
				t.Errorf("query %d: %x, %v", id, a, err)
				return
			}
			mu.Lock()
			rcodes[wire.HeaderRcode(a)]++
			mu.Unlock()
		})
	}
	eventually(t, "some wait, and the others are shed", func() bool {
		now := core.Stats()
		return now.Waiting == most && now.Shed == n-most
	})
	m.release()
	all.Wait()
	if rcodes[wire.NoError] != most || rcodes[wire.ServFail] != n-most {
		t.Errorf("rcodes %v", rcodes)
	}
	core.Drain()
	core.Close()
	core.Cancel(time.Second)
	core.Wait()
	if n := core.Waiting(); n != 0 {
		t.Errorf("%d wait at the end", n)
	}
}
