package group_test

import (
	"net/netip"
	"testing"

	"rideau/blocklists/group"
)

func table() *group.Table {
	return group.New([]group.Group{
		{ID: "net", Clients: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{ID: "host", Clients: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}},
		{ID: "devices", Certificates: []group.Certificate{{SAN: "*.devices.example"}, {SAN: "mailto@example"}}},
		{ID: "issued", Certificates: []group.Certificate{{Issuer: "CA"}, {SAN: "x.devices.example"}}},
		{ID: "path", Path: "/p"},
		{ID: "name", Name: "n.example"},
		{ID: "any", Path: "/any", MayWeaken: true},
	})
}

// TestFind: a certificate comes before the address, and a path before a name, which lead only to stricter groups.
func TestFind(t *testing.T) {
	x := table()
	for _, c := range []struct {
		addr   string
		claims *group.Claims
		strict group.ID // the group that blocks more than all others
		want   group.ID
		by     group.By
	}{
		{"192.0.2.1", nil, 0, 0, group.None},
		{"10.0.0.2", nil, 0, 1, group.ByAddress},
		{"10.0.0.1", new(group.Claims), 0, 2, group.ByAddress},
		{"10.0.0.1", &group.Claims{SANs: []string{"x.devices.example"}}, 0, 3, group.ByCertificate},
		{"10.0.0.1", &group.Claims{SANs: []string{"devices.example"}}, 0, 2, group.ByAddress},
		{"10.0.0.1", &group.Claims{SANs: []string{".devices.example"}}, 0, 2, group.ByAddress},
		{"10.0.0.1", &group.Claims{SANs: []string{"a", "mailto@example"}}, 0, 3, group.ByCertificate},
		{"10.0.0.1", &group.Claims{SANs: []string{"a"}, Issuers: []string{"CN=CA,O=Org", "CA"}}, 0, 4, group.ByCertificate},
		{"10.0.0.1", &group.Claims{Path: "/p", Name: "n.example"}, 0, 2, group.ByAddress},
		{"10.0.0.1", &group.Claims{Path: "/p", Name: "n.example"}, 5, 5, group.ByPath},
		{"10.0.0.1", &group.Claims{Path: "/p", Name: "n.example"}, 6, 6, group.ByName},
		{"192.0.2.1", &group.Claims{Path: "/any", Name: "n.example"}, 6, 7, group.ByPath},
		{"10.0.0.1", &group.Claims{Path: "/any", SANs: []string{"x.devices.example"}}, 0, 3, group.ByCertificate},
		{"10.0.0.1", &group.Claims{Path: "/p", SANs: []string{"x.devices.example"}}, 5, 5, group.ByPath},
	} {
		stricter := func(a, than group.ID) bool { return a == c.strict }
		id, by := x.Find(netip.MustParseAddr(c.addr), c.claims, stricter)
		if id != c.want || by != c.by {
			t.Errorf("%s %+v: %d by %v, want %d by %v", c.addr, c.claims, id, by, c.want, c.by)
		}
		for range 2 { // the second time from what is kept
			if id := x.Known(netip.MustParseAddr(c.addr), c.claims, 7, stricter); id != c.want {
				t.Errorf("%s %+v: %d is known, want %d", c.addr, c.claims, id, c.want)
			}
		}
	}
}

// TestKnown: what was found holds for one generation of policy, and it costs no memory to look.
func TestKnown(t *testing.T) {
	x, a := table(), netip.MustParseAddr("10.0.0.1")
	c := &group.Claims{Path: "/p"}
	strict := false
	stricter := func(group.ID, group.ID) bool { return strict }
	if id := x.Known(a, c, 1, stricter); id != 2 {
		t.Error(id)
	}
	strict = true
	if id := x.Known(a, c, 1, stricter); id != 2 {
		t.Errorf("%d, though the policy is the same", id)
	}
	if id := x.Known(a, c, 2, stricter); id != 5 {
		t.Errorf("%d by another policy", id)
	}
	if n := testing.AllocsPerRun(100, func() { x.Known(a, c, 2, stricter); x.Known(a, nil, 2, stricter) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestAt: another path makes other claims, and the same path the same.
func TestAt(t *testing.T) {
	var none *group.Claims
	if c := none.At("/p"); c.Path != "/p" {
		t.Error(c)
	}
	c := &group.Claims{Name: "n", SANs: []string{"s"}, Issuers: []string{"i"}, Path: "/p", Served: true}
	if c.At("/p") != c {
		t.Error("the same path makes other claims")
	}
	if o := c.At("/q"); o.Path != "/q" || o.Name != "n" || len(o.SANs) != 1 || len(o.Issuers) != 1 || !o.Served || c.Path != "/p" {
		t.Errorf("%+v", o)
	}
}
