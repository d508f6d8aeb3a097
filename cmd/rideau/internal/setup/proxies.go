package setup

import (
	"rideau/config"
	"rideau/resolver/listener/proxied"
)

// Proxies are those that say for which clients they speak; nil for none.
func Proxies(cfg *config.Config) *proxied.Sources {
	var all []proxied.Source
	for _, p := range cfg.Listen.Proxies {
		how := map[config.ProxyHeader]proxied.How{config.ProxyV2: proxied.Header, config.Forwarded: proxied.Forwarded, config.XForwardedFor: proxied.XForwardedFor}
		all = append(all, proxied.Source{Addresses: p.Addresses, How: how[p.Header]})
	}
	return proxied.New(all)
}
