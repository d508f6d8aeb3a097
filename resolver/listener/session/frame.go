package session

import "encoding/binary"

const (
	// HeaderLen is the length of a message's header (RFC 1035 section 4.1.1).
	HeaderLen = 12
	// LengthLen is how many octets hold a message's length before the message,
	// in streams (RFC 1035 section 4.2.2; RFC 9250 section 4.2).
	LengthLen = 2
	// MaxFrame is how many octets a message and its length have at most.
	MaxFrame = LengthLen + 65535
)

// Sendable reports whether there is a response, and a frame can hold it.
func Sendable(ans []byte) bool { return len(ans) > 0 && len(ans) <= MaxFrame-LengthLen }

// Frame writes ans, with its length before it, to buf from at on. It returns
// buf up to the end of that, or a copy where buf has too little capacity. It
// does not move a response that was appended at that place.
func Frame(buf []byte, at int, ans []byte) []byte {
	end := at + LengthLen + len(ans)
	if end > cap(buf) {
		grown := make([]byte, end)
		copy(grown, buf[:at])
		buf = grown
	}
	buf = buf[:end]
	binary.BigEndian.PutUint16(buf[at:], uint16(len(ans)))
	if &buf[at+LengthLen] != &ans[0] {
		copy(buf[at+LengthLen:], ans)
	}
	return buf
}
