package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver"
	"rideau/resolver/cache"
)

// TestQueryLine: whatever a name, a group and a ban are called, the line is JSON.
func TestQueryLine(t *testing.T) {
	q := resolver.LoggedQuery{Received: time.Unix(0, 0), Client: netip.MustParseAddr("fd00::1"), Group: []byte(`la"b`),
		Name: []byte("\x03a.\"\x01\xff\x00"), Type: 65, Kind: resolver.Blocked, Ban: []byte("é"), Monitored: true, Excepted: true}
	line := appendQuery(nil, &q)
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil || bytes.Count(line, []byte("\n")) != 1 {
		t.Fatalf("%s: %v", line, err)
	}
	want := map[string]any{"time": "1970-01-01T00:00:00.000000Z", "client": "fd00::1", "group": `la"b`, "name": `a\.\".\255.`, "type": "HTTPS",
		"transport": "udp", "outcome": "blocked", "ban": "é", "monitored": true, "excepted": true}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s", line)
	}
}

// TestQueryLogCannotBeWritten: what is not written is counted as lost.
func TestQueryLogCannotBeWritten(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no /dev/full")
	}
	snap, _, err := LoadPolicy(t.Context(), config.Default(), nil, new(blocklists.Slots), false)
	if err != nil {
		t.Fatal(err)
	}
	st, err := setup.PolicyState(config.Default(), snap)
	if err != nil {
		t.Fatal(err)
	}
	r := resolver.New(resolver.Options{State: st, Cache: cache.New(cache.Options{})})
	counters := r.Stats().NewCounters()
	l := newQueryLog(r.Stats(), slog.New(slog.DiscardHandler))
	l.use(f)
	msg, err := new(dns.Msg).SetQuestion("web.wechat.com.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		q := resolver.Query{Msg: msg, Client: netip.MustParseAddr("127.0.0.1"), Received: time.Now()}
		_, o := r.Answer(nil, &q)
		counters.Observe(&q, o, 0)
	}
	l.use(nil)
	if l.lost() != 3 {
		t.Errorf("%d lost of 3", l.lost())
	}
}
