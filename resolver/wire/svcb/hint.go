package svcb

import (
	"encoding/binary"

	"rideau/resolver/wire"
)

// Hints reads the addresses of an SVCB or HTTPS record's parameters ipv4hint
// and ipv6hint (RFC 9460 section 7.3). It borrows the message.
type Hints struct {
	msg       []byte
	off, end  int // of the parameters not yet read
	cur, stop int // of the addresses not yet read in the present one
	size      int
}

// NewHints returns the Hints of r; next is the offset after its target name.
// Malformed parameters yield no address.
func NewHints(msg []byte, r *wire.Record, next int) Hints {
	return Hints{msg: msg, off: next, end: r.End}
}

// Next returns the next address, of 4 or 16 octets, or nil at the end. It
// borrows the message.
func (h *Hints) Next() []byte {
	for {
		if h.size > 0 && h.cur+h.size <= h.stop {
			a := h.msg[h.cur : h.cur+h.size]
			h.cur += h.size
			return a
		}
		if h.off+4 > h.end {
			return nil
		}
		key := binary.BigEndian.Uint16(h.msg[h.off:])
		n := int(binary.BigEndian.Uint16(h.msg[h.off+2:]))
		h.cur, h.stop = h.off+4, h.off+4+n
		h.off = h.stop
		if h.stop > h.end {
			h.off, h.size = h.end, 0
			return nil
		}
		switch key {
		case 4:
			h.size = 4
		case 6:
			h.size = 16
		default:
			h.size = 0
		}
	}
}
