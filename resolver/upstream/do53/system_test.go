package do53_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rideau/resolver/upstream/do53"
)

func TestSystemServers(t *testing.T) {
	cases := []struct{ name, conf, want, err string }{
		{"usual", "# made by hand\nsearch example.com\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions edns0\n", "[192.0.2.1:53 192.0.2.2:53]", ""},
		{"no newline, tabs, CR", "\tnameserver\t192.0.2.1 \r\nnameserver 192.0.2.2", "[192.0.2.1:53 192.0.2.2:53]", ""},
		{"brackets", "nameserver [fe80::1%eth0]\nnameserver [fe80::1%eth0]:5353\nnameserver [::1]:54 x\nnameserver [192.0.2.1]\n", "[[fe80::1%eth0]:53 [fe80::1%eth0]:5353 [::1]:54 192.0.2.1:53]", ""},
		{"no port", "nameserver [fe80::1%eth0]:0\n", "[]", `line 1: nameserver "[fe80::1%eth0]:0" is not an IP address; correct or delete the line`},
		{"port 65536", "nameserver [::1]:65536\n", "[]", `line 1: nameserver "[::1]:65536" is not an IP address; correct or delete the line`},
		{"half a bracket", "nameserver [fe80::1%eth0\n", "[]", `line 1: nameserver "[fe80::1%eth0" is not an IP address; correct or delete the line`},
		{"a port without brackets", "nameserver fe80::1%eth0:53\n", "[]", `line 1: nameserver "fe80::1%eth0:53" is not an IP address; correct or delete the line`},
		{"IPv6", "nameserver 2001:db8::1\nnameserver fe80::1%eth0\n", "[[2001:db8::1]:53 [fe80::1%eth0]:53]", ""},
		{"mapped and repeated", "nameserver ::ffff:192.0.2.1\nnameserver 192.0.2.1\n", "[192.0.2.1:53]", ""},
		{"comments", "#nameserver 192.0.2.1\n; nameserver 192.0.2.2\nnameserver 192.0.2.3 # the third\n", "[192.0.2.3:53]", ""},
		{"other words", "nameservers 192.0.2.1\nNAMESERVER 192.0.2.2\nnameserver 192.0.2.3", "[192.0.2.3:53]", ""},
		{"no address", "\nnameserver\nnameserver 192.0.2.1\n", "[192.0.2.1:53]", "line 2: nameserver without an address; add one or delete the line"},
		{"a name", "nameserver dns.example\n", "[]", `line 1: nameserver "dns.example" is not an IP address; correct or delete the line`},
		{"a port", "nameserver 192.0.2.1:53\n", "[]", `line 1: nameserver "192.0.2.1:53" is not an IP address; correct or delete the line`},
		{"none", "search example.com\n", "[]", "no nameserver line"},
		{"empty", "", "[]", "no nameserver line"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := do53.SystemServers(strings.NewReader(c.conf))
			if fmt.Sprint(got) != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
			if text := fmt.Sprint(err); text != c.err && (err != nil || c.err != "") {
				t.Errorf("got error %q, want %q", text, c.err)
			}
		})
	}
}

func FuzzSystemServers(f *testing.F) {
	f.Add("nameserver 192.0.2.1\nnameserver fe80::1%eth0\n")
	f.Add("nameserver\n# x\n;\n\x00nameserver 1.1.1.1")
	f.Add("nameserver ::ffff:192.0.2.1%1\nnameserver ::1 2.2.2.2\n")
	f.Fuzz(func(t *testing.T, conf string) {
		servers, err := do53.SystemServers(strings.NewReader(conf))
		if len(servers) == 0 && err == nil {
			t.Error("neither a server nor an error")
		}
		var written strings.Builder
		for i, s := range servers {
			if !s.IsValid() || s.Port() != 53 || s.Addr().Is4In6() || slices.Contains(servers[:i], s) {
				t.Errorf("server %d is %v of %v", i, s, servers)
			}
			fmt.Fprintln(&written, "nameserver", s.Addr())
		}
		again, _ := do53.SystemServers(strings.NewReader(written.String()))
		if !slices.Equal(servers, again) {
			t.Errorf("%v, written and read again, is %v", servers, again)
		}
	})
}
