package querylog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"rideau/resolver/wire"
)

// port is the port of DNS servers (RFC 1035 section 4.2).
const port = 53

// magics are how captures begin: pcap in either order of octets, with
// microseconds or nanoseconds, and pcapng.
var magics = [...]string{"\xd4\xc3\xb2\xa1", "\xa1\xb2\xc3\xd4", "\x4d\x3c\xb2\xa1", "\xa1\xb2\x3c\x4d", sectionHeader}

const sectionHeader = "\x0a\x0d\x0d\x0a"

func isCapture(head []byte) bool {
	for _, m := range magics {
		if string(head) == m {
			return true
		}
	}
	return false
}

// packets is a capture that is being read.
type packets interface {
	ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error)
	LinkType() layers.LinkType
}

// capture reads queries to port 53, over UDP and TCP, from a capture. It does not reassemble
// TCP: a query counts if it begins where a segment begins, or follows
// another query in it, and ends in the same segment, as queries of clients do. A capture may end
// within a packet.
func (s *reader) capture(in io.Reader, head []byte) (err error) {
	var src packets
	if string(head) == sectionHeader {
		// Interfaces can have different link types: each packet tells
		// its own.
		src, err = pcapgo.NewNgReader(in, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	} else {
		src, err = pcapgo.NewReader(in)
	}
	if err != nil {
		return err
	}
	d := newDissector()
	for {
		data, info, err := src.ZeroCopyReadPacketData()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF) && s.Lines > 0:
			// The capture was stopped, or is still being written.
			s.Lines++
			s.unread(nil, "the capture ends within it")
			return nil
		case err != nil:
			return fmt.Errorf("after packet %d: %w; the capture is damaged", s.Lines, err)
		}
		s.Lines++
		link := src.LinkType()
		if len(info.AncillaryData) > 0 {
			if own, ok := info.AncillaryData[0].(layers.LinkType); ok {
				link = own
			}
		}
		if err := s.packet(d, link, data); err != nil {
			return err
		}
	}
}

// packet reads the queries in one packet.
func (s *reader) packet(d *dissector, link layers.LinkType, data []byte) error {
	p, known := d.dissect(link, data)
	switch {
	case !known:
		s.unread(nil, fmt.Sprintf("its link type %s is not read", link))
		return nil
	case p.to != port || len(p.payload) == 0:
		s.Other++
		return nil
	}
	s.q.Client, s.q.TCP = p.client, p.tcp
	before := s.Queries + s.Unread
	if !p.tcp {
		if err := s.message(p.payload); err != nil {
			return err
		}
	}
	for rest := p.payload; p.tcp && len(rest) > 2; {
		n := int(binary.BigEndian.Uint16(rest)) // RFC 1035 section 4.2.2
		if len(rest) < 2+n {
			s.unread(nil, "a query over TCP that is not whole in its segment")
			break
		}
		if err := s.message(rest[2 : 2+n]); err != nil {
			return err
		}
		rest = rest[2+n:]
	}
	if s.Queries+s.Unread == before {
		s.Other++
	}
	return nil
}

// message reads a message that was sent to port 53.
func (s *reader) message(m []byte) error {
	const header, response, opcode = 12, 0x80, 0x78
	switch {
	case len(m) < header || binary.BigEndian.Uint16(m[4:]) != 1 && m[2]&response == 0:
		s.unread(nil, "not a DNS query")
		return nil
	case m[2]&(response|opcode) != 0:
		return nil
	}
	next, err := s.q.Name.Parse(m, header)
	if err != nil || len(m) < next+4 {
		s.unread(nil, "its question is malformed")
		return nil
	}
	const internet = 1
	s.q.Type = wire.Type(binary.BigEndian.Uint16(m[next:]))
	if binary.BigEndian.Uint16(m[next+2:]) != internet {
		return nil
	}
	return s.count(Pcap)
}

// segment is a datagram, or a part of a stream.
type segment struct {
	client  netip.Addr
	to      uint16
	tcp     bool
	payload []byte
}

// dissector decodes packets. One is used for all packets of a capture.
type dissector struct {
	ethernet layers.Ethernet
	sll      layers.LinuxSLL
	sll2     layers.LinuxSLL2
	loopback layers.Loopback
	vlan     layers.Dot1Q
	ip4      layers.IPv4
	ip6      layers.IPv6
	udp      layers.UDP
	tcp      layers.TCP
	by       map[gopacket.LayerType]*gopacket.DecodingLayerParser
	decoded  []gopacket.LayerType
}

func newDissector() *dissector {
	d := &dissector{by: map[gopacket.LayerType]*gopacket.DecodingLayerParser{}}
	for _, first := range []gopacket.LayerType{layers.LayerTypeEthernet, layers.LayerTypeLinuxSLL, layers.LayerTypeLinuxSLL2,
		layers.LayerTypeLoopback, layers.LayerTypeIPv4, layers.LayerTypeIPv6} {
		p := gopacket.NewDecodingLayerParser(first, &d.ethernet, &d.sll, &d.sll2, &d.loopback, &d.vlan, &d.ip4, &d.ip6, &d.udp, &d.tcp)
		p.IgnoreUnsupported = true
		d.by[first] = p
	}
	return d
}

// firstLayer returns the layer that a packet begins with.
func firstLayer(link layers.LinkType, data []byte) gopacket.LayerType {
	switch link {
	case layers.LinkTypeEthernet:
		return layers.LayerTypeEthernet
	case layers.LinkTypeLinuxSLL:
		return layers.LayerTypeLinuxSLL
	case layers.LinkTypeLinuxSLL2:
		return layers.LayerTypeLinuxSLL2
	case layers.LinkTypeNull, layers.LinkTypeLoop:
		return layers.LayerTypeLoopback
	case layers.LinkTypeIPv4:
		return layers.LayerTypeIPv4
	case layers.LinkTypeIPv6:
		return layers.LayerTypeIPv6
	case layers.LinkTypeRaw, 12, 14: // 12 and 14 are the raw type of some systems
		if len(data) > 0 && data[0]>>4 == 6 {
			return layers.LayerTypeIPv6
		}
		return layers.LayerTypeIPv4
	}
	return gopacket.LayerTypeZero
}

// dissect returns the datagram or segment in a packet; the zero segment if there is none
// that is whole. It refers to data. known reports whether the link type is known.
func (d *dissector) dissect(link layers.LinkType, data []byte) (p segment, known bool) {
	parser := d.by[firstLayer(link, data)]
	if parser == nil {
		return p, false
	}
	d.decoded = d.decoded[:0]
	// After an error, the layers before it are decoded.
	_ = parser.DecodeLayers(data, &d.decoded)
	for _, l := range d.decoded {
		switch l {
		case layers.LayerTypeIPv4:
			p.client, _ = netip.AddrFromSlice(d.ip4.SrcIP)
		case layers.LayerTypeIPv6:
			p.client, _ = netip.AddrFromSlice(d.ip6.SrcIP)
		case layers.LayerTypeUDP:
			p.to, p.tcp, p.payload = uint16(d.udp.DstPort), false, d.udp.Payload
		case layers.LayerTypeTCP:
			p.to, p.tcp, p.payload = uint16(d.tcp.DstPort), true, d.tcp.Payload
		}
	}
	if !p.client.IsValid() {
		return segment{}, true
	}
	p.client = p.client.Unmap()
	return p, true
}
