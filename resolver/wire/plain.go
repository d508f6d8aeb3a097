package wire

// AppendPlain appends all records of msg to the message that begins at base,
// with their names written out, so that nothing in them depends on where they
// stand. Where a record is malformed, or the message would be longer than max
// octets, ok is false and dst comes back as it was, but for the counts.
func AppendPlain(dst []byte, base int, msg []byte, max int) (out []byte, ok bool) {
	var name Name
	w := NewWalk(msg)
	var r Record
	out = dst
	for w.Next(&r) {
		if out, ok = appendCopy(out, msg, &r, &name); !ok || len(out)-base > max {
			return dst, false
		}
		AddCount(out, base, r.Section, 1)
	}
	return out, w.Err() == nil
}
