package querylog

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/gopacket/gopacket/layers"
)

// segment is a datagram, or a part of a stream.
type segment struct {
	client, server netip.Addr
	from, to       uint16
	tcp            bool
	seq, end       uint32 // where the payload begins in the stream, and what follows
	payload        []byte
	unread         string // why it cannot be read, though it may hold a query
}

// flow is what the parts of one thing have in common: fragments have an id, segments have ports.
type flow struct {
	client, server netip.Addr
	proto          byte
	id             uint32
}

// partial is what came of a packet or of a query until now.
type partial struct {
	line   int
	other  bool // its packet was counted as another
	reason string
	next   uint32 // the sequence number that follows
	data   []byte
	parts  []fragment
	end    int // the length of the packet; 0: not known yet
}

type fragment struct {
	at   int
	data []byte
}

// maxPartial bounds what is held at a time.
const maxPartial = 1024

const (
	notWhole  = "a query over TCP that is not whole"
	fragments = "a fragment of a packet that is not whole"
	tooDeep   = "a packet in a tunnel that is not read"
)

// dissector decodes packets. One is used for all packets of a capture.
type dissector struct {
	line     int
	last     *partial // what the packet at hand began; nil for nothing
	partials map[flow]*partial
}

func newDissector() *dissector { return &dissector{partials: map[flow]*partial{}} }

// held returns what is not whole, in the order of the packets.
func (d *dissector) held() (out []*partial) {
	for _, p := range d.partials {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *partial) int { return cmp.Compare(a.line, b.line) })
	return out
}

// resume returns the payload of a segment after the beginning of a query that an earlier segment of the stream ended with.
func (d *dissector) resume(p *segment) []byte {
	f := p.flow()
	h := d.partials[f]
	if h == nil || h.next != p.seq {
		return p.payload
	}
	delete(d.partials, f)
	return append(h.data, p.payload...)
}

// keep holds the beginning of a query, until its stream goes on.
func (d *dissector) keep(p *segment, rest []byte, line int) bool {
	f := p.flow()
	if d.partials[f] != nil || len(d.partials) >= maxPartial {
		return false
	}
	d.last = &partial{line: line, reason: notWhole, next: p.end, data: bytes.Clone(rest)}
	d.partials[f] = d.last
	return true
}

func (p *segment) flow() flow {
	return flow{p.client, p.server, protoTCP, uint32(p.from)<<16 | uint32(p.to)}
}

// Types of Ethernet, and protocols of IP, that packets are in.
const (
	typeIPv4  = 0x0800
	typeIPv6  = 0x86DD
	typePPPoE = 0x8864
	typeMPLS  = 0x8847

	protoIPv4     = 4
	protoTCP      = 6
	protoUDP      = 17
	protoIPv6     = 41
	protoFragment = 44
	protoGRE      = 47
)

// maxNested is how many layers a packet may have.
const maxNested = 16

// dissect returns the datagram or segment in a packet; the zero segment if there is none
// that is whole. It may refer to data. known reports whether the link type is known.
func (d *dissector) dissect(link layers.LinkType, data []byte, line int) (p segment, known bool) {
	d.line, d.last = line, nil
	skip, at := 0, -1
	switch link {
	case layers.LinkTypeEthernet:
		skip, at = 14, 12
	case layers.LinkTypeLinuxSLL:
		skip, at = 16, 14
	case layers.LinkTypeLinuxSLL2:
		skip, at = 20, 0
	case layers.LinkTypeNull, layers.LinkTypeLoop:
		skip = 4
	case layers.LinkTypeIPv4, layers.LinkTypeIPv6, layers.LinkTypeRaw, 12, 14: // 12 and 14 are the raw type of some systems
	default:
		return p, false
	}
	if len(data) < skip {
		return p, true
	}
	if at < 0 {
		return d.version(data[skip:], 0), true
	}
	return d.ethernet(binary.BigEndian.Uint16(data[at:]), data[skip:], 0), true
}

// ethernet reads what is in a frame of that type.
func (d *dissector) ethernet(kind uint16, b []byte, depth int) segment {
	for ; depth < maxNested; depth++ {
		switch kind {
		case typeIPv4, typeIPv6:
			return d.version(b, depth)
		case 0x8100, 0x88A8, 0x9100, 0x9200: // VLAN tags
			if len(b) < 4 {
				return segment{}
			}
			kind, b = binary.BigEndian.Uint16(b[2:]), b[4:]
		case typePPPoE: // RFC 2516
			if len(b) < 8 {
				return segment{}
			}
			kind, b = map[uint16]uint16{0x0021: typeIPv4, 0x0057: typeIPv6, 0x0281: typeMPLS}[binary.BigEndian.Uint16(b[6:])], b[8:]
		case typeMPLS, typeMPLS + 1: // RFC 3032
			for last := false; !last; b = b[4:] {
				if len(b) < 4 {
					return segment{}
				}
				last = b[2]&1 != 0
			}
			if len(b) > 0 && (b[0]>>4 == 4 || b[0]>>4 == 6) {
				return d.version(b, depth)
			}
			return segment{unread: tooDeep}
		case 0x6558: // Ethernet in GRE
			if len(b) < 14 {
				return segment{}
			}
			kind, b = binary.BigEndian.Uint16(b[12:]), b[14:]
		default:
			return segment{}
		}
	}
	return segment{unread: tooDeep}
}

// version reads a packet of IP, of either version.
func (d *dissector) version(b []byte, depth int) segment {
	switch {
	case depth >= maxNested:
		return segment{unread: tooDeep}
	case len(b) >= 20 && b[0]>>4 == 4:
		return d.ipv4(b, depth+1)
	case len(b) >= 40 && b[0]>>4 == 6:
		return d.ipv6(b, depth+1)
	}
	return segment{}
}

func (d *dissector) ipv4(b []byte, depth int) segment {
	head, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if total == 0 { // as network cards that divide packets have it
		total = len(b)
	}
	if head < 20 || total < head || len(b) < head {
		return segment{}
	}
	var p segment
	p.client, _ = netip.AddrFromSlice(b[12:16])
	p.server, _ = netip.AddrFromSlice(b[16:20])
	proto, id, frag := b[9], binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	b = b[head:min(total, len(b))]
	if frag&0x3FFF != 0 {
		return d.fragment(&p, flow{p.client, p.server, proto, uint32(id)}, int(frag&0x1FFF)*8, frag&0x2000 != 0, b, depth)
	}
	return d.transport(&p, proto, b, depth)
}

func (d *dissector) ipv6(b []byte, depth int) segment {
	var p segment
	p.client, _ = netip.AddrFromSlice(b[8:24])
	p.server, _ = netip.AddrFromSlice(b[24:40])
	next, n := b[6], int(binary.BigEndian.Uint16(b[4:]))
	if b = b[40:]; n > 0 && n < len(b) {
		b = b[:n]
	}
	return d.extensions(&p, next, b, depth)
}

// extensions reads the extension headers of IPv6 (RFC 8200 section 4).
func (d *dissector) extensions(p *segment, next byte, b []byte, depth int) segment {
	for range maxNested {
		size := 8
		switch next {
		case 0, 43, 60, 135: // options, routing, mobility
			if len(b) >= 2 {
				size = 8 + 8*int(b[1])
			}
		case 51: // authentication (RFC 4302)
			if len(b) >= 2 {
				size = 8 + 4*int(b[1])
			}
		case protoFragment:
		default:
			return d.transport(p, next, b, depth)
		}
		if len(b) < size {
			return segment{}
		}
		if next == protoFragment {
			at := binary.BigEndian.Uint16(b[2:])
			if at&0xFFF9 != 0 {
				f := flow{p.client, p.server, b[0] | 0x80, binary.BigEndian.Uint32(b[4:])}
				return d.fragment(p, f, int(at&0xFFF8), at&1 != 0, b[8:], depth)
			}
		}
		next, b = b[0], b[size:]
	}
	return segment{unread: tooDeep}
}

// fragment holds a fragment until the packet is whole, and reads it then.
func (d *dissector) fragment(p *segment, f flow, at int, more bool, b []byte, depth int) segment {
	h := d.partials[f]
	if h == nil {
		if len(d.partials) >= maxPartial {
			return segment{unread: fragments}
		}
		h = &partial{line: d.line, reason: fragments}
		d.partials[f], d.last = h, h
	}
	if len(h.parts) >= 128 || at+len(b) > 1<<16 {
		return segment{unread: fragments}
	}
	h.parts = append(h.parts, fragment{at, bytes.Clone(b)})
	if !more {
		h.end = at + len(b)
	}
	slices.SortStableFunc(h.parts, func(x, y fragment) int { return cmp.Compare(x.at, y.at) })
	var whole []byte
	for _, part := range h.parts {
		if part.at > len(whole) {
			return segment{}
		}
		if end := part.at + len(part.data); end > len(whole) {
			whole = append(whole, part.data[len(whole)-part.at:]...)
		}
	}
	if h.end == 0 || len(whole) < h.end {
		return segment{}
	}
	delete(d.partials, f)
	d.last = nil
	if p.client.Is6() {
		return d.extensions(p, f.proto&^0x80, whole[:h.end], depth)
	}
	return d.transport(p, f.proto, whole[:h.end], depth)
}

// transport reads what is in a packet of IP: a datagram, a segment, or another packet.
func (d *dissector) transport(p *segment, proto byte, b []byte, depth int) segment {
	switch proto {
	case protoUDP:
		if len(b) < 8 {
			return segment{}
		}
		p.from, p.to = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		if n := int(binary.BigEndian.Uint16(b[4:])); n >= 8 && n < len(b) {
			b = b[:n]
		}
		p.payload = b[8:]
	case protoTCP:
		if len(b) < 20 || len(b) < int(b[12]>>4)*4 || b[12]>>4 < 5 {
			return segment{}
		}
		p.from, p.to, p.tcp = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), true
		p.seq = binary.BigEndian.Uint32(b[4:])
		p.payload = b[int(b[12]>>4)*4:]
		p.end = p.seq + uint32(len(p.payload))
	case protoIPv4, protoIPv6:
		return d.version(b, depth)
	case protoGRE: // RFC 2784, RFC 2890
		if len(b) < 4 || b[0]&0x40 != 0 || b[1]&7 != 0 {
			return segment{unread: tooDeep}
		}
		size := 4
		for _, flag := range [...]byte{0x80, 0x20, 0x10} { // checksum, key, sequence number
			if b[0]&flag != 0 {
				size += 4
			}
		}
		if len(b) < size {
			return segment{}
		}
		return d.ethernet(binary.BigEndian.Uint16(b[2:]), b[size:], depth+1)
	default:
		return segment{}
	}
	p.client, p.server = p.client.Unmap(), p.server.Unmap()
	return *p
}
