package config_test

import (
	"slices"
	"strings"
	"testing"

	"rideau/config"
)

// TestApplies: every key has a tag that says when a change takes effect. The keys that need a restart, and those on which lists depend,
// are the ones that operators know.
func TestApplies(t *testing.T) {
	keys := config.Keys()
	section := func(k string) bool {
		return slices.ContainsFunc(keys, func(o string) bool { return strings.HasPrefix(o, k+".") })
	}
	got := map[config.Application][]string{}
	for _, k := range keys {
		a := config.Applies(k)
		switch {
		case strings.Contains(k, "[]"):
			if list, _, _ := strings.Cut(k, "[]"); a != config.Applies(list) {
				t.Errorf("%s applies %q, its list %q", k, a, config.Applies(list))
			}
		case section(k):
			if a != "" {
				t.Errorf("%s is a section and applies %q; each of its keys has to say so", k, a)
			}
		case a != config.Live && a != config.Lists && a != config.Restart:
			t.Errorf("%s has the tag applies:%q; write live, lists or restart", k, a)
		default:
			got[a] = append(got[a], k)
		}
	}
	equal(t, got[config.Restart], []string{"listen.workers", "listen.max_pending", "listen.tcp.max_connections", "listen.tcp.max_connections_per_client",
		"listen.tcp.idle_timeout", "listen.tcp.max_pending_per_connection", "listen.tcp.max_handshakes", "listen.proxies", "clients.resolvers", "clients.refused_per_second", "cache.min_ttl", "cache.max_ttl",
		"cache.max_negative_ttl", "cache.nxdomain_cut", "cache.failure_ttl", "cache.failure_max_ttl", "cache.prefetch", "cache.prefetch_hits",
		"cache.max_stale", "cache.stale_ttl", "cache.stale_after", "block_page.http", "block_page.https", "evidence.node", "evidence.dir", "ops.listen", "ops.pprof", "ops.socket", "log.format", "log.language"})
	equal(t, got[config.Lists], []string{"groups", "lists", "bans", "exceptions", "errors.format", "errors.option", "errors.language", "errors.organization", "errors.databases", "block_page.ipv4", "block_page.ipv6", "block_page.groups", "nat64.prefixes", "nat64.discover", "state.dir", "protected.defaults", "protected.names",
		"reload.max_shrink", "reload.max_skipped"})
	equal(t, config.Applies("limits.queries_per_second"), config.Live)
	equal(t, config.Applies("bans[].title.en"), config.Lists)
	equal(t, config.Applies("nothing"), config.Application(""))
}
