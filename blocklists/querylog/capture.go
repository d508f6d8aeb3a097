package querylog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

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

// capture reads queries to port 53, over UDP and TCP, from a capture. A query may be in several fragments, or in several segments that follow
// each other; its first must be where a segment begins, or behind another query. What is not whole at the end counts as not
// read. A capture may end within a packet.
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
	defer func() {
		for _, h := range d.held() {
			if h.other {
				s.Other--
			}
			s.unreadAt(h.line, nil, h.reason)
		}
	}()
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
	p, known := d.dissect(link, data, s.Lines)
	switch {
	case !known:
		s.unread(nil, fmt.Sprintf("its link type %s is not read", link))
		return nil
	case p.unread != "":
		s.unread(nil, p.unread)
		return nil
	case p.to != port || len(p.payload) == 0:
		s.other(d)
		return nil
	}
	if p.tcp {
		p.payload = d.resume(&p)
	}
	s.q.Client, s.q.TCP = p.client, p.tcp
	before := s.Queries + s.Unread
	if !p.tcp {
		if err := s.message(p.payload); err != nil {
			return err
		}
	}
	for rest := p.payload; p.tcp && len(rest) > 0; {
		n := 0
		if len(rest) >= 2 {
			n = int(binary.BigEndian.Uint16(rest)) // RFC 1035 section 4.2.2
		}
		if len(rest) < 2+n {
			if !d.keep(&p, rest, s.Lines) {
				s.unread(nil, notWhole)
			}
			break
		}
		if err := s.message(rest[2 : 2+n]); err != nil {
			return err
		}
		rest = rest[2+n:]
	}
	if s.Queries+s.Unread == before {
		s.other(d)
	}
	return nil
}

// other counts a packet without a query. If it began something that is not whole yet, that is corrected at the end.
func (s *reader) other(d *dissector) {
	s.Other++
	if d.last != nil {
		d.last.other = true
	}
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
