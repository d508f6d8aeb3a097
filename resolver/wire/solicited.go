package wire

// MaxAdditional is how many records of the additional section are looked at:
// each is held against all that stands before it.
const MaxAdditional = 64

// solicited reports whether an additional record belongs to the response
// (RFC 2181 section 5.4.1): its owner is the question's name, or one that a
// record before it answers for or points to. Anything else is what somebody
// would have us believe. The names have been read before. owner is written to.
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
