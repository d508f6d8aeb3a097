package wire

// Join returns one response out of two: the answers of first, which ends with an
// alias, and all that next says of what that leads to, under its response code. AD
// holds if it does for both. ok is false if they are too long, or malformed.
func Join(first, next []byte) (out []byte, ok bool) {
	w := NewWalk(first)
	if w.Err() != nil || len(next) < HeaderLen {
		return nil, false
	}
	out = append(make([]byte, 0, 2*(len(first)+len(next))), first[:w.Offset()]...)
	for _, s := range []Section{Answer, Authority, Additional} {
		SetCount(out, s, 0)
	}
	flags := Flags(first)&^(0xF|FlagAD) | Flags(next)&0xF | Flags(first)&Flags(next)&FlagAD
	SetFlags(out, flags)
	var name Name
	var rec Record
	for w.Next(&rec) && rec.Section == Answer {
		if out, ok = appendCopy(out, first, &rec, &name); !ok || len(out) > MaxMessage {
			return nil, false
		}
		AddCount(out, 0, Answer, 1)
	}
	return AppendPlain(out, 0, next, MaxMessage)
}
