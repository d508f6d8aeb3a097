package querylog_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/gopacket/gopacket/layers"
	"github.com/miekg/dns"
)

// Packets as they come from real networks: in tunnels, with tags and options, in fragments and several segments.
func TestCapturedParts(t *testing.T) {
	be := binary.BigEndian
	a, long := message(t, "a.example.", dns.TypeA, false), message(t, "a-name-that-is-long-enough-for-two.example.", dns.TypeA, false)
	u16 := func(n int) []byte { return be.AppendUint16(nil, uint16(n)) }
	udp := func(m []byte) []byte {
		return slices.Concat(u16(5353), u16(53), u16(8+len(m)), u16(0), m)
	}
	tcp := func(seq uint32, m []byte) []byte {
		return slices.Concat(u16(5353), u16(53), be.AppendUint32(nil, seq), make([]byte, 4), []byte{5 << 4, 0x18}, make([]byte, 6), m)
	}
	ip4 := func(proto byte, id, frag int, b []byte) []byte {
		return slices.Concat([]byte{0x45, 0}, u16(20+len(b)), u16(id), u16(frag), []byte{9, proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 53}, b)
	}
	ip6 := func(next byte, b []byte) []byte {
		return slices.Concat([]byte{0x60, 0, 0, 0}, u16(len(b)), []byte{next, 9, 0xfd}, make([]byte, 14), []byte{1, 0xfd}, make([]byte, 14), []byte{0x53}, b)
	}
	eth := func(kind int, b []byte) []byte { return slices.Concat(make([]byte, 12), u16(kind), b) }
	plain := ip4(17, 1, 0, udp(a))
	d := udp(long)
	frag6 := func(at, more int, b []byte) []byte {
		return eth(0x86DD, ip6(44, slices.Concat([]byte{17, 0}, u16(at|more), []byte{0, 0, 0, 9}, b)))
	}
	stream := framed(a, long)
	const one, two = "10.0.0.1 a.example. A udp", "10.0.0.1 a-name-that-is-long-enough-for-two.example. A udp"
	for _, c := range []struct {
		name    string
		packets [][]byte
		want    []string
		unread  int
	}{
		{"two VLAN tags of an old kind", [][]byte{eth(0x9100, slices.Concat(u16(7), u16(0x8100), u16(8), u16(0x0800), plain))}, []string{one}, 0},
		{"PPPoE", [][]byte{eth(0x8864, slices.Concat([]byte{0x11, 0, 0, 1}, u16(len(plain)+2), u16(0x0021), plain))}, []string{one}, 0},
		{"MPLS", [][]byte{eth(0x8847, slices.Concat([]byte{0, 1, 0, 9, 0, 2, 1, 9}, plain))}, []string{one}, 0},
		{"MPLS with something else", [][]byte{eth(0x8847, slices.Concat([]byte{0, 1, 1, 9}, make([]byte, 40))), eth(0x800, plain)}, []string{one}, 1},
		{"GRE", [][]byte{eth(0x0800, ip4(47, 1, 0, slices.Concat([]byte{0x20, 0}, u16(0x0800), make([]byte, 4), plain)))}, []string{one}, 0},
		{"IP in IP", [][]byte{eth(0x86DD, ip6(4, plain))}, []string{one}, 0},
		{"options of IPv6", [][]byte{eth(0x86DD, ip6(0, slices.Concat([]byte{60, 0}, make([]byte, 6), []byte{17, 1}, make([]byte, 14), udp(a))))}, []string{"fd00::1 a.example. A udp"}, 0},
		{"fragments of IPv4", [][]byte{eth(0x0800, ip4(17, 5, 0x2000, d[:32])), eth(0x0800, ip4(17, 5, 4, d[32:])), eth(0x800, plain)}, []string{two, one}, 0},
		{"fragments in another order", [][]byte{eth(0x0800, ip4(17, 5, 4, d[32:])), eth(0x0800, ip4(17, 5, 0x2000, d[:32]))}, []string{two}, 0},
		{"fragments of IPv6", [][]byte{frag6(0, 1, d[:32]), frag6(32, 0, d[32:])}, []string{"fd00::1 a-name-that-is-long-enough-for-two.example. A udp"}, 0},
		{"half a packet", [][]byte{eth(0x0800, ip4(17, 5, 0x2000, d[:32])), eth(0x800, plain)}, []string{one}, 1},
		{"a length in a segment of its own", [][]byte{eth(0x800, ip4(6, 1, 0, tcp(1, stream[:2]))), eth(0x800, ip4(6, 2, 0, tcp(3, stream[2:])))},
			[]string{"10.0.0.1 a.example. A tcp", "10.0.0.1 a-name-that-is-long-enough-for-two.example. A tcp"}, 0},
		{"octet by octet", func() (out [][]byte) {
			for i := range stream {
				out = append(out, eth(0x800, ip4(6, i, 0, tcp(uint32(i), stream[i:i+1]))))
			}
			return out
		}(), []string{"10.0.0.1 a.example. A tcp", "10.0.0.1 a-name-that-is-long-enough-for-two.example. A tcp"}, 0},
		{"a stream that does not go on", [][]byte{eth(0x800, ip4(6, 1, 0, tcp(1, stream[:5]))), eth(0x800, plain)}, []string{one}, 1},
		{"tunnels without an end", [][]byte{eth(0x800, func() []byte {
			b := plain
			for range 40 {
				b = ip4(4, 1, 0, b)
			}
			return b
		}()), eth(0x800, plain)}, []string{one}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, stats, err := read(t, pcap(t, layers.LinkTypeEthernet, false, c.packets), "")
			if err != nil || !slices.Equal(got, c.want) || stats.Unread != c.unread || stats.Other < 0 {
				t.Errorf("%q, %+v, %v, want %q and %d not read", got, stats, err, c.want, c.unread)
			}
		})
	}
}
