package facts

import (
	"encoding/binary"
	"net/netip"

	"rideau/resolver/wire"
	"rideau/resolver/wire/svcb"
)

// Types that policy looks at and nothing else here knows.
const (
	typeMD       wire.Type = 3
	typeMF       wire.Type = 4
	typeMB       wire.Type = 7
	typeMG       wire.Type = 8
	typeMR       wire.Type = 9
	typeWKS      wire.Type = 11
	typeMINFO    wire.Type = 14
	typeRP       wire.Type = 17
	typeAFSDB    wire.Type = 18
	typeRT       wire.Type = 21
	typeNSAPPTR  wire.Type = 23
	typePX       wire.Type = 26
	typeKX       wire.Type = 36
	typeA6       wire.Type = 38
	typeIPSECKEY wire.Type = 45
	typeHIP      wire.Type = 55
	typeTALINK   wire.Type = 58
	typeDSYNC    wire.Type = 66
	typeL32      wire.Type = 105
	typeL64      wire.Type = 106
	typeLP       wire.Type = 107
	typeURI      wire.Type = 256
	typeAMTRELAY wire.Type = 260
)

// Leads reads the names and addresses to which a record leads a client. It borrows the message. What is malformed
// yields nothing more.
//
// The zero octets of a locator (L64) stand for the interface identifier, so a ban of an address block
// that is longer than /64 does not match it.
type Leads struct {
	msg   []byte
	data  int // the offset of the RDATA
	end   int // of the RDATA
	names int // how many names there are at off
	off   int
	more  bool // names are behind each other up to the end
	addr  netip.Addr
	hosts hosts
	hints svcb.Hints
	svcb  bool
}

// MayLead reports whether records of a type may have names or addresses that Leads reads.
func MayLead(t wire.Type) bool {
	const few = 1<<wire.TypeCNAME | 1<<wire.TypeDNAME | 1<<wire.TypeNS | 1<<wire.TypePTR | 1<<wire.TypeSOA | 1<<wire.TypeMX | 1<<wire.TypeSRV |
		1<<wire.TypeNAPTR | 1<<typeMD | 1<<typeMF | 1<<typeMB | 1<<typeMG | 1<<typeMR | 1<<typeWKS | 1<<typeMINFO | 1<<typeRP | 1<<typeAFSDB |
		1<<typeRT | 1<<typeNSAPPTR | 1<<typePX | 1<<typeKX | 1<<typeA6 | 1<<typeIPSECKEY | 1<<typeHIP | 1<<typeTALINK
	if t < 64 {
		return uint64(few)>>t&1 != 0
	}
	switch t {
	case wire.TypeSVCB, wire.TypeHTTPS, typeDSYNC, typeL32, typeL64, typeLP, typeURI, typeAMTRELAY:
		return true
	}
	return false
}

// NewLeads returns the Leads of a record other than A and AAAA, of which [Address] is all. Of an SOA record the primary
// name server counts in the answer section: elsewhere the record only says how long a denial
// holds (RFC 2308 section 5).
func NewLeads(msg []byte, r *wire.Record) Leads {
	l := Leads{msg: msg, data: r.DataOff, end: r.End}
	names := func(head, n int) { l.off, l.names = r.DataOff+head, n }
	switch r.Type {
	case wire.TypeCNAME, wire.TypeDNAME, wire.TypeNS, wire.TypePTR, typeMD, typeMF, typeMB, typeMG, typeMR, typeNSAPPTR:
		names(0, 1)
	case wire.TypeSOA:
		if r.Section == wire.Answer {
			names(0, 1)
		}
	case wire.TypeMX, typeAFSDB, typeRT, typeKX, typeLP:
		names(2, 1)
	case wire.TypeSVCB, wire.TypeHTTPS:
		names(2, 1)
		l.svcb = true
	case wire.TypeSRV:
		names(6, 1)
	case typeDSYNC:
		names(5, 1) // RFC 9859 section 2.1
	case typeMINFO, typeRP, typeTALINK:
		names(0, 2)
	case typePX:
		names(2, 2)
	case wire.TypeNAPTR:
		if off, ok := wire.TargetOffset(msg, r); ok {
			l.off, l.names = off, 1
		}
		l.hosts = regexpHosts(naptrRegexp(msg, r))
	case typeURI:
		if r.End-r.DataOff > 4 {
			l.hosts = uriHosts(msg[r.DataOff+4 : r.End])
		}
	case typeIPSECKEY:
		l.gateway(1, 3) // RFC 4025 section 2.1
	case typeAMTRELAY:
		l.gateway(1, 2) // RFC 8777 section 4.2
	case typeWKS:
		l.address(0, 4)
	case typeL32:
		l.address(2, 4)
	case typeL64:
		l.address(2, 8)
	case typeA6:
		l.a6()
	case typeHIP:
		l.rendezvous()
	}
	return l
}

// address sets the address from n octets of the RDATA.
func (l *Leads) address(head, n int) {
	from := l.data + head
	if from+n > l.end {
		return
	}
	if n == 4 {
		l.addr = netip.AddrFrom4([4]byte(l.msg[from : from+4]))
		return
	}
	var a [16]byte
	copy(a[:], l.msg[from:from+n])
	l.addr = netip.AddrFrom16(a)
}

// gateway reads a gateway or relay, whose kind is in the octet at kind.
func (l *Leads) gateway(kind, head int) {
	if l.data+head > l.end {
		return
	}
	switch l.msg[l.data+kind] & 0x7F {
	case 1:
		l.address(head, 4)
	case 2:
		l.address(head, 16)
	case 3:
		l.off, l.names = l.data+head, 1
	}
}

// a6 reads an address whose first bits a name stands for (RFC 2874 section 3.1).
func (l *Leads) a6() {
	if l.data >= l.end || l.msg[l.data] > 128 {
		return
	}
	n := int(l.msg[l.data])
	if n == 0 {
		l.address(1, 16)
		return
	}
	l.off, l.names = l.data+1+(128-n+7)/8, 1
}

// rendezvous reads the rendezvous servers of a HIP record (RFC 8005 section 5).
func (l *Leads) rendezvous() {
	d := l.data
	if d+4 > l.end {
		return
	}
	l.off = d + 4 + int(l.msg[d]) + int(binary.BigEndian.Uint16(l.msg[d+2:]))
	l.names, l.more = 1, true
}

// Next reads the next name into name, and returns true and an invalid address; or it returns the next
// address. It returns false at the end.
func (l *Leads) Next(name *wire.Name) (netip.Addr, bool) {
	if l.nextName(name) {
		return netip.Addr{}, true
	}
	l.names = 0
	if a := l.addr; a.IsValid() {
		l.addr = netip.Addr{}
		return a, true
	}
	if l.svcb {
		a, ok := netip.AddrFromSlice(l.hints.Next())
		return a, ok
	}
	return l.hosts.next(name)
}

// nextName reads the next name, and reports whether there is one.
func (l *Leads) nextName(name *wire.Name) bool {
	if l.names == 0 || l.off >= l.end {
		return false
	}
	next, err := name.Parse(l.msg, l.off)
	if err != nil || l.more && next-l.off != name.Len() {
		return false // those of HIP are never compressed, or work would not be linear in the octets
	}
	if l.svcb {
		l.hints = svcb.NewHints(l.msg, &wire.Record{End: l.end}, next)
	}
	if l.off = next; !l.more {
		l.names--
	}
	return true
}

// Unexamined reports whether nothing is known of a type, or its RDATA has names or addresses that Leads does not read.
func Unexamined(t wire.Type) bool {
	switch {
	case t <= 53, 55 <= t && t <= 68: // to BRID
	case 99 <= t && t <= 109: // SPF to EUI64
	case 249 <= t && t <= 258: // TKEY to AVC
	case t == typeAMTRELAY, t == 261, t == 32768, t == 32769: // RESINFO, TA, DLV
	default:
		return true
	}
	return false
}
