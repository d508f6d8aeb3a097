package wire_test

import (
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/wire"
)

// TestAppendPadding: a message is padded to a whole number of blocks, or to as many
// octets as a message may have; one with no space for the option stays as it is.
func TestAppendPadding(t *testing.T) {
	const before = 7 // what dst holds before the message
	for size, want := range map[int]int{23: 468, 463: 468, 464: 468, 465: 936, 468: 936, 65000: 65052, 65100: 65520, 65520: 65535, 65531: 65535, 65532: 65532, 65535: 65535} {
		dst := make([]byte, before+wire.HeaderLen, before+wire.MaxMessage)
		off := len(dst)
		dst = wire.AppendOPT(dst, before, wire.OPT{UDPSize: 1232})
		if fill := size - (len(dst) - before); fill > 0 { // an option of fill octets
			dst = wire.AppendOption(dst, off, wire.AppendOptionBytes(nil, 65001, make([]byte, fill-4)))
		}
		dst = wire.AppendPadding(dst, before, off, 468)
		if got := len(dst) - before; got != want {
			t.Errorf("%d octets became %d, want %d", size, got, want)
		}
		m := new(dns.Msg)
		if err := m.Unpack(dst[before:]); err != nil || m.IsEdns0() == nil {
			t.Errorf("%d octets: %v", size, err)
		}
	}
}
