package setup

import (
	"bufio"
	"context"
	"net/netip"
	"strings"
	"testing"

	"rideau/blocklists"
	"rideau/blocklists/pack"
	"rideau/config"
	"rideau/config/policy"
	"rideau/resolver/wire"
)

// TestDefaultConfigurationHoldsThePacks goes the whole way from the packs'
// rows through the default configuration to the verdict: every row that
// blocks by default does, for its ban, with every name below a suffix row,
// and rows that are shared do not.
func TestDefaultConfigurationHoldsThePacks(t *testing.T) {
	snap, _, err := LoadPolicy(context.Background(), config.Default(), nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	verdict := func(name string) string {
		var n wire.Name
		if b, err := netip.ParsePrefix(name); err == nil {
			v := snap.Addr(b.Addr(), 0)
			if v.Kind != blocklists.Block {
				return "pass"
			}
			return snap.Ban(v.Ban).ID
		}
		if err := n.SetText(name); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		v := snap.Name(&n, 0)
		if v.Kind != blocklists.Block {
			return "pass"
		}
		return snap.Ban(v.Ban).ID
	}
	for name, ban := range map[string]string{"wechat": "ca-2023-wechat", "kaspersky": "ca-2023-kaspersky"} {
		f, err := pack.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		blocked, shared := 0, 0
		for s := bufio.NewScanner(f); s.Scan(); {
			row := strings.Split(s.Text(), "\t")
			if strings.HasPrefix(row[0], "#") || len(row) < 3 {
				continue
			}
			domain, match, tier := row[0], row[1], row[2]
			if tier == "shared" {
				shared++
				if got := verdict(domain); got != "pass" {
					t.Errorf("%s is shared, and %s blocks it", domain, got)
				}
				continue
			}
			blocked++
			names := []string{domain, strings.ToUpper(domain)}
			if match == "suffix" {
				names = append(names, "x."+domain, "a.b-1._c.d."+domain)
			}
			for _, n := range names {
				if got := verdict(n); got != ban {
					t.Errorf("%s (%s, %s): %s", n, match, tier, got)
				}
			}
		}
		if blocked < 70 || shared == 0 {
			t.Errorf("%s: %d rows that block and %d shared: was the pack read?", name, blocked, shared)
		}
	}
	for _, name := range []string{"mail.qq.com", "qq.com", "www.qq.com", "tencent.com", "gtimg.com", "video.qq.com", "meeting.qq.com",
		"notkaspersky.com", "kaspersky.com.example.org", "kaspersky.example", "wechat.com.evil.example", "xweixin.qq.com",
		"www.canada.ca", "canada.ca", "com", "tiktok.com"} {
		if got := verdict(name); got != "pass" {
			t.Errorf("%s is blocked by %s", name, got)
		}
	}
}

// TestNamesOfConfigurationAndPolicyAgree: the words of the file are the words
// of the metrics.
func TestNamesOfConfigurationAndPolicyAgree(t *testing.T) {
	for m, want := range map[policy.Mode]blocklists.Mode{policy.ModeEnforce: blocklists.Enforce, policy.ModeMonitor: blocklists.Monitor, policy.ModeOff: blocklists.Off} {
		if got := mode(m); got != want || got.String() != string(m) {
			t.Errorf("%s: %v", m, got)
		}
	}
	for a, want := range map[policy.Action]blocklists.Action{policy.ActionNXDomain: blocklists.NXDomain, policy.ActionNoData: blocklists.NoData,
		policy.ActionSinkhole: blocklists.Sinkhole, policy.ActionRefused: blocklists.Refuse, policy.ActionDrop: blocklists.Drop} {
		if got := action(a); got != want || got.String() != string(a) {
			t.Errorf("%s: %v", a, got)
		}
	}
}
