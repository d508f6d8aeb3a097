package privacy

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
)

// Bounds of one search.
const (
	// MaxAddresses is how many addresses are tried with each key.
	MaxAddresses = 1 << 24
	// MaxPseudonyms is how many pseudonyms are looked for.
	MaxPseudonyms = 1 << 20
)

// Found is what a search says of one pseudonym.
type Found struct {
	Pseudonym string
	// Address is whose it is; the zero Addr if it was not found. Then Reason says
	// why.
	Address netip.Addr
	Reason  string
}

// Pseudonyms returns the pseudonyms in a text, each once, in the order of the
// text. They may be in lines of events, or alone.
func Pseudonyms(r io.Reader) ([]string, error) {
	form := regexp.MustCompile(`\bp1-[0-9a-f]{8}-[0-9a-f]{16}\b`)
	var out []string
	seen := map[string]bool{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		for _, p := range form.FindAllString(lines.Text(), -1) {
			if !seen[p] {
				seen[p] = true
				out = append(out, p)
			}
		}
		if len(out) > MaxPseudonyms {
			return nil, fmt.Errorf("more than %d pseudonyms; give fewer at a time", MaxPseudonyms)
		}
	}
	return out, lines.Err()
}

// Candidate reads an address or a network, all of whose addresses are tried.
func Candidate(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is neither an address nor a network such as 192.0.2.0/24", s)
	}
	return p.Masked(), nil
}

// count returns how many addresses the candidates have.
func count(candidates []netip.Prefix) (n int, err error) {
	for _, p := range candidates {
		host := p.Addr().BitLen() - p.Bits()
		if host < 25 {
			n += 1 << host
		}
		if host >= 25 || n > MaxAddresses {
			return 0, fmt.Errorf("with %s there are more than %d addresses, which is the most that are tried; name smaller networks, or the addresses themselves", p, MaxAddresses)
		}
	}
	return n, nil
}

// wanted are the pseudonyms of one key that were not found yet: by the octets of
// the HMAC, their places.
type wanted map[[macOctets]byte][]int

// Find looks for the addresses of pseudonyms among candidates. It tries no address
// if there are more than MaxAddresses. The result has the order of pseudonyms.
func Find(ctx context.Context, keys []*Key, pseudonyms []string, candidates []netip.Prefix) ([]Found, error) {
	n, err := count(candidates)
	if err != nil {
		return nil, err
	}
	out := make([]Found, len(pseudonyms))
	byKey := map[string]wanted{}
	for i, p := range pseudonyms {
		out[i].Pseudonym = p
		id, mac, ok := split(p)
		switch {
		case !ok:
			out[i].Reason = "this is not a pseudonym"
		case !slices.ContainsFunc(keys, func(k *Key) bool { return k.ID == id }):
			out[i].Reason = fmt.Sprintf("its key %s is not in the folder: it was kept long enough and removed, or is another node's", id)
		default:
			out[i].Reason = fmt.Sprintf("none of the %d addresses that were tried", n)
			if byKey[id] == nil {
				byKey[id] = wanted{}
			}
			byKey[id][mac] = append(byKey[id][mac], i)
		}
	}
	for _, k := range keys {
		if w := byKey[k.ID]; w != nil {
			if err := k.find(ctx, w, candidates, out); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// split returns the parts of a pseudonym.
func split(p string) (id string, mac [macOctets]byte, ok bool) {
	const length = len(prefix) + 2*idOctets + 1 + 2*macOctets
	if len(p) != length || p[:len(prefix)] != prefix || p[len(prefix)+2*idOctets] != '-' {
		return "", mac, false
	}
	_, err := hex.Decode(mac[:], []byte(p[length-2*macOctets:]))
	return p[len(prefix):][:2*idOctets], mac, err == nil
}

// find looks for the pseudonyms of one key.
func (k *Key) find(ctx context.Context, w wanted, candidates []netip.Prefix, out []Found) error {
	m := k.maker()
	tried := 0
	for _, p := range candidates {
		for a := p.Addr(); p.Contains(a); a = a.Next() {
			if tried++; tried%(1<<16) == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			mac := [macOctets]byte(m.octets(a))
			for _, i := range w[mac] {
				out[i].Address, out[i].Reason = a, ""
			}
			if delete(w, mac); len(w) == 0 {
				return nil
			}
		}
	}
	return nil
}
