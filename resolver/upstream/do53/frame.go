package do53

import (
	"crypto/rand"
	"encoding/binary"

	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/wire"
)

// frame is a query of our own after the two octets of length that TCP wants
// (RFC 1035 section 4.2.2).
type frame []byte

func newFrame(query []byte) frame {
	return append(make(frame, 2, 2+len(query)), query...).withLength()
}

func (f frame) message() []byte { return f[2:] }

// withLength sets the length to that of the message.
func (f frame) withLength() frame {
	binary.BigEndian.PutUint16(f, uint16(len(f)-2))
	return f
}

// renewID gives the query an id that nobody can foresee (RFC 5452 section 9.2).
func (f frame) renewID() {
	rand.Read(f[2:4]) // never fails
}

func hasOPT(msg []byte) bool {
	_, end := acceptance.FindOPT(msg)
	return end > 0
}

// withoutOPT removes the OPT record, in place.
func (f frame) withoutOPT() frame {
	off, end := acceptance.FindOPT(f.message())
	f = append(f[:2+off], f[2+end:]...)
	m := f.message()
	wire.SetCount(m, wire.Additional, wire.Count(m, wire.Additional)-1)
	return f.withLength()
}

// withoutOptions removes the options of the OPT record, which is the last, in
// place.
func (f frame) withoutOptions() frame {
	off, end := acceptance.FindOPT(f.message())
	if end != len(f.message()) {
		return f
	}
	f = f[:2+off+wire.OPTLen]
	binary.BigEndian.PutUint16(f[len(f)-2:], 0)
	return f.withLength()
}
