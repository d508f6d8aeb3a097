package pack_test

import "testing"

// Names of the products on other people's networks, below one name each, and names that stay reachable beside them.
func TestNamesOnSharedNetworks(t *testing.T) {
	all := rules(t, nil, "kaspersky", "tiktok", "wechat")
	for _, name := range []string{"a.kaspersky.demdex.net", "media.kasperskydaily.com", "www.tiktok.net", "sso.tiktok-eu.net", "cloud.tiktok-us.net", "v.tiktokcdn-in.com",
		"www.musicallycdn.com", "a.muscdn.net", "a.muscdn.org", "www.musapi.cc", "www.musinc.io", "api.lifeattiktok.com", "p16.tiktokcdn.com.atomile.com", "api.tiktokv.com.akamaized.net",
		"a.tiktokrow-cdn.com.wsdvs.com", "tiktok.bytedance.map.fastly.net", "a.tiktok.mncdn.com", "finderks.video.qq.com", "a.findertt.video.qq.com"} {
		if !covered(all, name) {
			t.Errorf("%s is not covered", name)
		}
	}
	for _, name := range []string{"other.demdex.net", "demdex.net", "map.fastly.net", "mncdn.com", "wsdvs.com", "akamaized.net", "cdn.cloudflare.net", "video.qq.com", "v.video.qq.com", "douyin.com", "bytedance.com", "iesdouyin.com", "bytedanceapi.com"} {
		if covered(all, name) {
			t.Errorf("%s is covered", name)
		}
	}
}
