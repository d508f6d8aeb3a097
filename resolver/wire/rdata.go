package wire

import (
	"encoding/binary"

	"rideau/resolver/wire/layout"
)

// DataNames tells where the RDATA of r has names that a sender may have
// compressed, though RFC 3597 section 4 allows that only for the types of RFC
// 1035: the number of octets before them, the number of names, and whether a
// copy may compress them.
func DataNames(msg []byte, r *Record) (head, names int, compress bool) {
	const (
		md, mf, mb, mg, mr, minfo, rp, afsdb, rt, sig, px, nxt, kx = 3, 4, 7, 8, 9, 14, 17, 18, 21, 24, 26, 30, 36
	)
	switch r.Type {
	case TypeNS, TypeCNAME, TypePTR, md, mf, mb, mg, mr:
		return 0, 1, true
	case TypeSOA, minfo:
		return 0, 2, true
	case TypeMX:
		return 2, 1, true
	case TypeDNAME, TypeNSEC, nxt:
		return 0, 1, false
	case rp:
		return 0, 2, false
	case TypeSVCB, TypeHTTPS, afsdb, rt, kx:
		return 2, 1, false
	case px:
		return 2, 2, false
	case TypeSRV:
		return 6, 1, false
	case TypeRRSIG, sig:
		return 18, 1, false
	case TypeNAPTR:
		if off, ok := TargetOffset(msg, r); ok {
			return off - r.DataOff, 1, false
		}
	}
	return 0, 0, false
}

// AppendRecords appends all records of msg, uncompressed, to the message that
// begins at base, so that they no longer depend on msg. If a record is
// malformed, or the message would be longer than max octets, ok is false and
// dst is returned unchanged but for its counts.
func AppendRecords(dst []byte, base int, msg []byte, max int) (out []byte, ok bool) {
	var name Name
	w := NewWalk(msg)
	var r Record
	out = dst
	for w.Next(&r) {
		if out, ok = AppendUncompressed(out, msg, &r, &name); !ok || len(out)-base > max {
			return dst, false
		}
		AddCount(out, base, r.Section, 1)
	}
	return out, w.Err() == nil
}

// AppendUncompressed appends a record of msg with its names uncompressed, and
// does not count it. ok is false if the record is malformed. It overwrites
// name.
func AppendUncompressed(dst, msg []byte, r *Record, name *Name) (out []byte, ok bool) {
	if _, err := name.Parse(msg, r.Off); err != nil {
		return dst, false
	}
	dst = append(dst, name.Bytes()...)
	dst = append(dst, msg[r.TTLOff-4:r.TTLOff+4]...) // type, class, TTL
	length := len(dst)
	dst = append(dst, 0, 0)
	head, names, _ := DataNames(msg, r)
	if r.Type == TypeRRSIG || r.Type == TypeNSEC {
		head, names = 0, 0 // Parse checks no name in them, and their case is signed
	}
	off := r.DataOff + head
	if off > r.End {
		return dst, false
	}
	dst = append(dst, msg[r.DataOff:off]...)
	for range names {
		next, err := name.Parse(msg, off)
		if err != nil || next > r.End {
			return dst, false
		}
		dst = append(dst, name.Bytes()...)
		off = next
	}
	dst = append(dst, msg[off:r.End]...)
	binary.BigEndian.PutUint16(dst[length:], uint16(len(dst)-length-2))
	return dst, true
}

// checkData reads the RDATA of a record to its end, and returns an error unless
// it is built as its type demands, with no octet left over. What one reader
// skips another may act on, so a record that readers take for different things
// is not passed on.
func checkData(msg []byte, rec *Record, c *nameCheck) error {
	off := rec.DataOff
	if rec.Type == TypeA && rec.Class == ClassIN {
		if rec.End-off != 4 {
			return ErrMessage
		}
		return nil
	}
	parts, ok := layout.Of(uint16(rec.Type))
	if !ok {
		return nil
	}
	for i := range len(parts) {
		part := parts[i]
		switch part {
		case 'n':
			if off >= rec.End {
				return ErrMessage
			}
			next, err := c.name(msg, off)
			if err != nil {
				return err
			}
			off = next
		case 'L':
			off += 16
		case 'R':
			off += 18
		case '1', '2', '3', '4', '5', '6', '8':
			off += int(part - '0')
		default:
			if off > rec.End {
				return ErrMessage
			}
			n := layout.Skip(msg[rec.DataOff:rec.End], off-rec.DataOff, part)
			if n < 0 {
				return ErrMessage
			}
			off = rec.DataOff + n
		}
	}
	if off != rec.End {
		return ErrMessage
	}
	return nil
}
