package attempt_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"rideau/resolver/ops/access/attempt"
)

// clock is a time that a test sets.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func start() (*attempt.Limiter, *clock) {
	c := &clock{time.Unix(1_700_000_000, 0)}
	return attempt.New(c.now), c
}

var (
	attacker = netip.MustParseAddr("192.0.2.66")
	victim   = netip.MustParseAddr("198.51.100.7")
)

// TestWaitsGrow: three failures have no consequence, and then the wait doubles up to five minutes. An hour without a failure forgets all.
func TestWaitsGrow(t *testing.T) {
	l, c := start()
	var waits []time.Duration
	for range 16 {
		for {
			wait := l.Begin(attacker, "ann")
			if wait == 0 {
				break
			}
			waits = append(waits, wait)
			c.t = c.t.Add(wait)
		}
	}
	want := []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300}
	for i := range want {
		want[i] *= time.Second
	}
	if fmt.Sprint(waits) != fmt.Sprint(want) {
		t.Errorf("waits %v, want %v", waits, want)
	}
	if wait := l.Begin(attacker, "ann"); wait == 0 || wait > 5*time.Minute {
		t.Errorf("wait %v", wait)
	}
	c.t = c.t.Add(time.Hour)
	for range 3 {
		if wait := l.Begin(attacker, "ann"); wait != 0 {
			t.Errorf("an hour later: %v", wait)
		}
	}
}

// TestVictimIsFree: whatever others did to a name, a network without failures may try at once, and its user is in with the right password.
func TestVictimIsFree(t *testing.T) {
	l, c := start()
	for i := range 3_000 {
		from := netip.AddrFrom4([4]byte{203, 0, byte(i / 16 >> 8), byte(i / 16)})
		l.Begin(from, "ann")
		if i%300 == 0 {
			if wait := l.Begin(victim, "ann"); wait != 0 {
				t.Fatalf("after %d failures of others the user waits %v", i, wait)
			}
			l.Succeeded(victim, "ann")
		}
		c.t = c.t.Add(time.Millisecond)
	}
	// Who has failed once waits with the others.
	l.Begin(victim, "ann")
	if wait := l.Begin(victim, "ann"); wait == 0 {
		t.Error("a name under attack is not slower for who fails")
	}
}

// TestNetworks: the addresses of a /64 are one, and those of IPv4 in IPv6 are those of IPv4.
func TestNetworks(t *testing.T) {
	l, _ := start()
	for i := range 4 {
		var a [16]byte
		copy(a[:], []byte{0x20, 1, 0xd, 0xb8})
		binary.BigEndian.PutUint32(a[12:], uint32(i))
		l.Begin(netip.AddrFrom16(a), "ann")
	}
	if l.Begin(netip.MustParseAddr("2001:db8::ffff"), "bob") == 0 {
		t.Error("another address of the /64 is free")
	}
	if l.Begin(netip.MustParseAddr("2001:db8:0:1::1"), "bob") != 0 {
		t.Error("another /64 is not")
	}
	for range 4 {
		l.Begin(attacker, "eve")
	}
	if l.Begin(netip.AddrFrom16(attacker.As16()), "bob") == 0 {
		t.Error("an address of IPv4 in IPv6 is free")
	}
}

// TestOwnPasswordFreesNobody: who has a right password of one name cannot guess that of another for ever with it.
func TestOwnPasswordFreesNobody(t *testing.T) {
	l, _ := start()
	tries := 0
	for range 100 {
		if l.Begin(attacker, "ann") == 0 {
			tries++
		}
		if l.Begin(attacker, "eve") == 0 {
			l.Succeeded(attacker, "eve")
		}
	}
	if tries > 5 {
		t.Errorf("%d tries", tries)
	}
	// But who mistypes and then succeeds is free again.
	for range 100 {
		for range 2 {
			if wait := l.Begin(victim, "zoe"); wait != 0 {
				t.Fatalf("wait %v", wait)
			}
		}
		l.Succeeded(victim, "zoe")
	}
}

// TestUnknownIsNotCounted: an attempt without an outcome costs nothing.
func TestUnknownIsNotCounted(t *testing.T) {
	l, _ := start()
	for range 100 {
		if wait := l.Begin(victim, "ann"); wait != 0 {
			t.Fatalf("wait %v", wait)
		}
		l.Unknown(victim, "ann")
	}
}

// TestMemoryBounded: many networks and names take the memory of a few thousand. What failed lately is remembered.
func TestMemoryBounded(t *testing.T) {
	l, c := start()
	for range 5 {
		l.Begin(attacker, "ann")
	}
	for i := range 12_000 {
		var a [16]byte
		a[0] = 0x20
		binary.BigEndian.PutUint32(a[2:], uint32(i))
		l.Begin(netip.AddrFrom16(a), fmt.Sprint(i))
		c.t = c.t.Add(time.Microsecond)
	}
	networks, names := l.Size()
	if networks > 4096 || names > 4096 || networks < 1024 || names < 1024 {
		t.Errorf("%d networks, %d names", networks, names)
	}
}
