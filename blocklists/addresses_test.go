package blocklists_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"testing"

	"rideau/blocklists"
)

// TestAddressesNest compares verdicts on addresses with a comparison with every
// prefix: all prefixes that hold an address count, however they nest, and the verdict
// names the list of the first ban.
func TestAddressesNest(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	address := func() netip.Addr {
		b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		for i := 12; i < 16; i++ { // a few values for each octet, so that many prefixes nest
			b[i] = byte(rng.IntN(3)) << 6
		}
		if rng.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte(b[12:]))
		}
		return netip.AddrFrom16(b)
	}
	var p blocklists.Policy
	var prefixes [4][]netip.Prefix
	for i := range prefixes {
		var lines []string
		for range 60 {
			a := address()
			block, _ := a.Prefix(a.BitLen() - rng.IntN(31))
			prefixes[i] = append(prefixes[i], block)
			lines = append(lines, block.String())
		}
		id := strconv.Itoa(i)
		p.Lists = append(p.Lists, list(id, lines...))
		p.Bans = append(p.Bans, ban(id, id))
	}
	s := load(t, p, nil)
	for range 2000 {
		a := address()
		want := "pass"
		for i := len(prefixes) - 1; i >= 0; i-- {
			if slices.ContainsFunc(prefixes[i], func(p netip.Prefix) bool { return p.Contains(a) }) {
				want = fmt.Sprintf("%d/%d", i, i)
			}
		}
		if got := text(s, s.Addr(a, s.Everyone())); got != want {
			t.Fatalf("%v: %s, want %s", a, got, want)
		}
	}
}
