package fetch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

const (
	// lookupTimeout is how long one resolver has to answer, dialTimeout how long a connection to one address may take.
	lookupTimeout = 4 * time.Second
	dialTimeout   = 10 * time.Second
)

// dialer connects to hosts. It asks its own resolvers for their addresses.
type dialer struct{ servers []netip.AddrPort }

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := d.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, a := range addrs {
		n := net.Dialer{Timeout: dialTimeout}
		conn, err := n.DialContext(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return conn, nil
		}
		failed = append(failed, err)
	}
	return nil, failed[0]
}

// lookup returns the addresses of a host, those of IPv4 first: a machine may have IPv6 addresses although IPv6 does not work.
func (d *dialer) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if Loopback(host) {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	if len(d.servers) == 0 {
		return nil, fmt.Errorf("there is no resolver to ask for the address of %s; set fetch.bootstrap", host)
	}
	var failed []error
	for _, s := range d.servers {
		addrs, err := query(ctx, s, host)
		if err == nil {
			return addrs, nil
		}
		failed = append(failed, fmt.Errorf("%v: %w", s, err))
		var no *net.DNSError
		if errors.As(err, &no) && no.IsNotFound || ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("the address of %s is not known: %w; correct the URL, or set fetch.bootstrap to resolvers that know it", host, errors.Join(failed...))
}

// query looks up a host at one resolver.
func query(ctx context.Context, server netip.AddrPort, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var n net.Dialer
		return n.DialContext(ctx, network, server.String())
	}}
	// The final dot keeps the system's search domains out.
	addrs, err := r.LookupNetIP(ctx, "ip", strings.TrimSuffix(host, ".")+".")
	if err != nil {
		var d *net.DNSError
		if errors.As(err, &d) {
			// The error names the system's server, which was not asked.
			return nil, &net.DNSError{Err: d.Err, Name: host, IsNotFound: d.IsNotFound, IsTimeout: d.IsTimeout, IsTemporary: d.IsTemporary}
		}
		return nil, err
	}
	var out []netip.Addr
	for _, four := range []bool{true, false} {
		for _, a := range addrs {
			if a = a.Unmap(); a.Is4() == four {
				out = append(out, a)
			}
		}
	}
	return out, nil
}
