package wire

// MaxAdditional is the number of additional records that are examined: each is
// compared with all records before it.
const MaxAdditional = 64

// solicited reports whether an additional record belongs to the response (RFC
// 2181 section 5.4.1): its owner is the question's name, an owner of the answer
// section, or a name that a record before it points to. Any other record may be
// a forgery. The names were checked before. It overwrites owner.
func solicited(msg []byte, rec *Record, owner *Name) bool {
	var name Name
	if _, err := owner.Parse(msg, rec.Off); err != nil {
		return false
	}
	same := func(off int) bool {
		_, err := name.Parse(msg, off)
		return err == nil && string(name.Bytes()) == string(owner.Bytes())
	}
	if same(HeaderLen) {
		return true
	}
	w := NewWalk(msg)
	var r Record
	for w.Next(&r) && r.Off < rec.Off {
		if r.Section == Answer && same(r.Off) {
			return true
		}
		if off, ok := TargetOffset(msg, &r); ok && same(off) {
			return true
		}
	}
	return false
}
