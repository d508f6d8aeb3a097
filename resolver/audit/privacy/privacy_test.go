package privacy_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rideau/resolver/audit/privacy"
)

func told(c privacy.Clients, k *privacy.Keys, address string) string {
	var a netip.Addr
	if address != "" {
		a = netip.MustParseAddr(address)
	}
	return string(privacy.Teller(c, k)(nil, a))
}

// clock is a time that a test sets.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func open(t *testing.T, dir string, c *clock) *privacy.Keys {
	t.Helper()
	k, err := privacy.Open(privacy.KeyOptions{Dir: dir, Rotate: 720 * time.Hour, Keep: 1440 * time.Hour, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestTeller(t *testing.T) {
	for _, test := range []struct {
		c             privacy.Clients
		address, want string
	}{
		{privacy.Address, "192.0.2.7", "192.0.2.7"},
		{privacy.Address, "2001:db8::7", "2001:db8::7"},
		{privacy.Address, "", ""},
		{privacy.Network, "192.0.2.7", "192.0.2.0/24"},
		{privacy.Network, "::ffff:192.0.2.7", "192.0.2.0/24"},
		{privacy.Network, "2001:db8:1:2::7", "2001:db8:1::/48"},
		{privacy.Network, "fe80::7%eth0", "fe80::/48"},
		{privacy.Network, "", ""},
		{privacy.None, "192.0.2.7", ""},
	} {
		if got := told(test.c, nil, test.address); got != test.want {
			t.Errorf("%s of %s: %q, want %q", test.c, test.address, got, test.want)
		}
	}
}

// One address has one pseudonym while its key lives, also after a restart, and
// other addresses have others. A new key makes others; the old one finds the
// address until it was kept long enough. Then it is gone.
func TestLife(t *testing.T) {
	c := &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	dir := filepath.Join(t.TempDir(), "new", "keys")
	k := open(t, dir, c)
	first := told(privacy.Pseudonym, k, "192.0.2.7")
	if len(first) != 28 || !strings.HasPrefix(first, "p1-"+k.Current().ID+"-") {
		t.Errorf("%q", first)
	}
	if told(privacy.Pseudonym, k, "") != "" {
		t.Error("no address has a pseudonym")
	}
	c.now = c.now.Add(719 * time.Hour)
	k = open(t, dir, c)
	if got := told(privacy.Pseudonym, k, "::ffff:192.0.2.7"); got != first {
		t.Errorf("after a restart: %s, was %s", got, first)
	}
	if got := told(privacy.Pseudonym, k, "192.0.2.8"); got[12:] == first[12:] {
		t.Errorf("two addresses have the pseudonym %s", got)
	}
	tell := privacy.Teller(privacy.Pseudonym, k)
	c.now = c.now.Add(time.Hour)
	next, err := k.Renew()
	if want := c.now.Add(720 * time.Hour); err != nil || !next.Equal(want) {
		t.Errorf("the next renewal is at %v, want %v, %v", next, want, err)
	}
	second := string(tell(nil, netip.MustParseAddr("192.0.2.7")))
	if second[:11] == first[:11] || second[12:] == first[12:] {
		t.Errorf("%s after %s", second, first)
	}
	find := func(want ...string) {
		t.Helper()
		keys, err := privacy.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		found, err := privacy.Find(t.Context(), keys, []string{first, second, "nonsense", first}, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range found {
			got := f.Reason
			if f.Address.IsValid() {
				got += f.Address.String()
			}
			if !strings.Contains(got, want[i]) {
				t.Errorf("%s: %s, want %s", f.Pseudonym, got, want[i])
			}
		}
	}
	find("192.0.2.7", "192.0.2.7", "not a pseudonym", "192.0.2.7")
	c.now = c.now.Add(1440*time.Hour - time.Second)
	if _, err := k.Renew(); err != nil {
		t.Fatal(err)
	}
	find("192.0.2.7", "192.0.2.7", "not a pseudonym", "192.0.2.7")
	c.now = c.now.Add(time.Second)
	if _, err := k.Renew(); err != nil {
		t.Fatal(err)
	}
	find("is not in the folder", "192.0.2.7", "not a pseudonym", "is not in the folder")
}

// Whoever sets the clock years ahead and back again does not make a key that lives
// for years.
func TestClockJump(t *testing.T) {
	c := &clock{time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	dir := t.TempDir()
	ahead := open(t, dir, c).Current().ID
	c.now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	k := open(t, dir, c)
	if k.Current().ID == ahead {
		t.Error("a key from years ahead is in use")
	}
	c.now = c.now.Add(-time.Minute) // a small correction changes nothing
	id := k.Current().ID
	if open(t, dir, c).Current().ID != id {
		t.Error("a correction of a minute made another key")
	}
}

// Keys are for the process's user alone, and are not told by what prints them.
func TestSecrecy(t *testing.T) {
	c := &clock{time.Now()}
	dir := filepath.Join(t.TempDir(), "keys")
	k := open(t, dir, c).Current()
	path := filepath.Join(dir, k.ID+privacy.Suffix)
	for p, mode := range map[string]os.FileMode{dir: 0o700, path: 0o600} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", p, info.Mode(), err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Fields(string(text))[3]
	for _, printed := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s", k, k, k, k)} {
		if strings.Contains(printed, secret) || !strings.Contains(printed, k.ID) {
			t.Errorf("%s", printed)
		}
	}
	// A damaged key is an error that says which file and not what is in it.
	for _, damaged := range []string{"", "p1", strings.Replace(string(text), secret[:2], fmt.Sprintf("%02x", secret[0]^1), 1), strings.Replace(string(text), "p1 ", "p2 ", 1)} {
		if damaged == string(text) {
			continue
		}
		if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := privacy.Load(dir)
		if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), secret[8:]) {
			t.Errorf("%q: %v", damaged, err)
		}
	}
}

// If no new key can be made, the one before goes on.
func TestNoNewKey(t *testing.T) {
	c := &clock{time.Now()}
	dir := filepath.Join(t.TempDir(), "keys")
	k := open(t, dir, c)
	id := k.Current().ID
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	c.now = c.now.Add(721 * time.Hour)
	if next, err := k.Renew(); err == nil || next.After(c.now.Add(time.Hour)) || k.Current().ID != id {
		t.Errorf("%v, %v, key %s, was %s", next, err, k.Current(), id)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Renew(); err != nil || k.Current().ID == id {
		t.Errorf("%v, key %s, was %s", err, k.Current(), id)
	}
}

func TestCandidates(t *testing.T) {
	for text, want := range map[string]string{"192.0.2.7": "192.0.2.7/32", "192.0.2.7/24": "192.0.2.0/24", "fe80::1%eth0": "fe80::1/128", "::ffff:192.0.2.1": "192.0.2.1/32"} {
		if p, err := privacy.Candidate(text); err != nil || p.String() != want {
			t.Errorf("%s: %v, %v", text, p, err)
		}
	}
	if _, err := privacy.Candidate("x"); err == nil {
		t.Error("x is no address")
	}
	for _, networks := range [][]string{{"10.0.0.0/7"}, {"10.0.0.0/8", "192.0.2.1/32"}, {"2001:db8::/64"}, {"::/0"}} {
		var all []netip.Prefix
		for _, n := range networks {
			all = append(all, netip.MustParsePrefix(n))
		}
		_, err := privacy.Find(t.Context(), nil, nil, all)
		if err == nil || !strings.Contains(err.Error(), "more than 16777216 addresses") {
			t.Errorf("%s: %v", networks, err)
		}
	}
	// The last addresses of the family end the search, too.
	keys := []*privacy.Key{open(t, t.TempDir(), &clock{time.Now()}).Current()}
	p := "p1-" + keys[0].ID + "-0123456789abcdef"
	found, err := privacy.Find(t.Context(), keys, []string{p}, []netip.Prefix{netip.MustParsePrefix("255.255.255.0/24"), netip.MustParsePrefix("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00/120")})
	if err != nil || found[0].Address.IsValid() || found[0].Reason != "none of the 512 addresses that were tried" {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestPseudonyms(t *testing.T) {
	text := `{"client":"p1-00000000-0123456789abcdef","x":"p1-00000000-0123456789abcdeff"}` + "\nnothing\np1-00000001-0123456789abcdef p1-00000000-0123456789abcdef\n"
	got, err := privacy.Pseudonyms(strings.NewReader(text))
	if want := "[p1-00000000-0123456789abcdef p1-00000001-0123456789abcdef]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v, %v", got, err)
	}
}
