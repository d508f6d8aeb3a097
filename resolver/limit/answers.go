package limit

import "net/netip"

// What one address gets in answers to messages that it may not have sent. Both
// bounds are for addresses that are not verified. Both neither lock nor allocate,
// and use Unix nanoseconds, so that a clock that is set is no harm for long.

const (
	// Each client may get so many errors at once, and then one in two seconds. A
	// program that answers an error with what is another error to us, and we it,
	// would go on for ever: the first error that is not sent ends that.
	errorBurst      = 20
	errorsPerSecond = 0.5
	// FreeOctets is the size of an answer that is not counted by AdmitOctets: most
	// answers are smaller. Of a larger one the octets beyond it are counted.
	FreeOctets = 256
)

// AdmitError reports whether a client, an IPv4 address or an IPv6 /64, may get one
// more error in answer to a message that cannot be parsed.
func (g *Gate) AdmitError(client netip.Addr, now int64) bool {
	if g.errors.spend(hashOf(g.seed, client, 32, 64), now, 1) {
		return true
	}
	g.refused[ByError].Add(1)
	return false
}

// LimitOctets bounds the octets a second that AdmitOctets admits for each client;
// as many may be sent at once. With perSecond 0 there is no bound.
func (g *Gate) LimitOctets(perSecond int) { g.octets.set(float64(perSecond), 1e9) }

// AdmitOctets reports whether a client, an IPv4 address or an IPv6 /64, may get an
// answer of that size. Otherwise the answer is to be truncated: its client can ask
// over TCP, and an address that was forged gets no more than was sent in its name.
func (g *Gate) AdmitOctets(client netip.Addr, size int, now int64) bool {
	if size <= FreeOctets || g.octets.interval.Load() == 0 {
		return true
	}
	if g.octets.spend(hashOf(g.seed, client, 32, 64), now, int64(size-FreeOctets)) {
		return true
	}
	g.refused[ByOctets].Add(1)
	return false
}
