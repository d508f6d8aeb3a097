// Package nat64 discovers by which prefixes the network's translators write IPv4
// addresses as IPv6 addresses (RFC 7050): it asks for the IPv6 addresses of a name
// that has IPv4 addresses only.
package nat64

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"rideau/resolver/wire"
)

// most is how many prefixes are kept. Each address in an answer is compared with all.
const most = 8

// Exchanger asks an upstream server: see upstream.Upstream.
type Exchanger interface {
	Exchange(ctx context.Context, dst, query []byte) ([]byte, error)
}

// Discovery has the prefixes that were found. They only become more: an answer that
// lacks one, and a failure, take nothing away, so that no server can hide addresses
// that were recognized. It is safe for concurrent use.
type Discovery struct {
	log  *slog.Logger
	wake chan struct{}

	mu    sync.Mutex
	known []netip.Prefix // guarded by mu; never written in place
}

// New makes a Discovery that has found nothing.
func New(log *slog.Logger) *Discovery { return &Discovery{log: log, wake: make(chan struct{}, 1)} }

// With returns prefixes and those that were found. The result is new.
func (d *Discovery) With(prefixes []netip.Prefix) []netip.Prefix {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := slices.Clone(prefixes)
	for _, p := range d.known {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// Wake has Run look at once what asker returns.
func (d *Discovery) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

const (
	// An answer is asked for again when its TTL is over, within these bounds; after a
	// failure, after the first.
	leastWait = time.Minute
	mostWait  = 24 * time.Hour
	// exchangeTime bounds one exchange.
	exchangeTime = 15 * time.Second
)

// Run asks until ctx ends, and calls found after it has found new prefixes. asker
// returns what to ask; nil while nothing is to be discovered, until Wake.
func (d *Discovery) Run(ctx context.Context, asker func() Exchanger, found func()) {
	for ctx.Err() == nil {
		var again <-chan time.Time
		if x := asker(); x != nil {
			prefixes, ttl, err := ask(ctx, x)
			switch {
			case err != nil:
				d.log.Debug("NAT64 prefixes cannot be discovered now", "error", err)
			case d.add(prefixes):
				d.log.Info("NAT64 prefixes were discovered", "prefixes", d.With(nil))
				found()
			}
			again = time.After(min(max(ttl, leastWait), mostWait))
		}
		select {
		case <-ctx.Done():
		case <-again:
		case <-d.wake:
		}
	}
}

// add adds prefixes, and reports whether one is new.
func (d *Discovery) add(prefixes []netip.Prefix) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := len(d.known)
	for _, p := range prefixes {
		if len(d.known) < most && !slices.Contains(d.known, p) {
			d.known = append(slices.Clip(d.known), p)
		}
	}
	return len(d.known) > was
}

// ask asks for the IPv6 addresses of ipv4only.arpa, without the CD bit (RFC 7050
// section 3), and returns the prefixes in the answer, and its lowest TTL. The exchange
// passes no cache.
func ask(ctx context.Context, x Exchanger) ([]netip.Prefix, time.Duration, error) {
	var name wire.Name
	if err := name.SetText("ipv4only.arpa"); err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, exchangeTime)
	defer cancel()
	msg, err := x.Exchange(ctx, nil, wire.AppendQuery(nil, 0, &name, wire.TypeAAAA, wire.ClassIN, false, false, true, 1232))
	if err != nil {
		return nil, 0, err
	}
	if rcode := wire.HeaderRcode(msg); rcode != 0 {
		return nil, 0, fmt.Errorf("the answer for ipv4only.arpa has rcode %d", rcode)
	}
	var out []netip.Prefix
	ttl := uint32(mostWait / time.Second)
	var r wire.Record
	w := wire.NewWalk(msg)
	for w.Next(&r) {
		if r.Section != wire.Answer || r.Type != wire.TypeAAAA || r.Class != wire.ClassIN || r.End-r.DataOff != 16 {
			continue
		}
		ttl = min(ttl, r.TTL)
		if p, ok := prefixOf(netip.AddrFrom16([16]byte(msg[r.DataOff:r.End]))); ok {
			out = append(out, p)
		}
	}
	return out, time.Duration(ttl) * time.Second, w.Err()
}

// prefixOf returns the prefix of an address of ipv4only.arpa: what stands before 192.0.0.170
// or 192.0.0.171 at one of the places of RFC 6052 section 2.2, if it stands at one
// alone. It is a unicast prefix, and not 64:ff9b::/96, which is always recognized. The bits after it are not looked at, for a translator may use them, but bits 64
// to 71 are zero.
func prefixOf(a netip.Addr) (netip.Prefix, bool) {
	b := a.As16()
	if !a.Is6() || a.Is4In6() || !netip.MustParsePrefix("2000::/3").Contains(a) && !a.IsPrivate() && !netip.MustParsePrefix("64:ff9b:1::/48").Contains(a) {
		return netip.Prefix{}, false
	}
	var found []netip.Prefix
	for _, bits := range []int{32, 40, 48, 56, 64, 96} {
		var v4 []byte
		for i := bits / 8; len(v4) < 4; i++ {
			if i != 8 || bits == 96 {
				v4 = append(v4, b[i])
			}
		}
		if (bits == 96 || b[8] == 0) && (bytes.Equal(v4, []byte{192, 0, 0, 170}) || bytes.Equal(v4, []byte{192, 0, 0, 171})) {
			p, _ := a.Prefix(bits)
			found = append(found, p)
		}
	}
	if len(found) != 1 {
		return netip.Prefix{}, false
	}
	return found[0], true
}
