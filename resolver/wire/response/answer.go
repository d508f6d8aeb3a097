package response

import "rideau/resolver/wire"

// Trim returns the message with only its answer section and, if there is one,
// the first SOA record of its authority section, without which a negative
// answer cannot be cached. It overwrites msg and the capacity behind it.
func Trim(msg []byte) []byte {
	w := wire.NewWalk(msg)
	var r wire.Record
	end := w.Offset()
	var tmp [3*wire.MaxName + 30]byte
	soa := tmp[:0]
	var name wire.Name
	for w.Next(&r) {
		if r.Section == wire.Answer {
			end = r.End
		}
		if r.Section == wire.Authority && r.Type == wire.TypeSOA && len(soa) == 0 {
			if out, ok := wire.AppendUncompressed(soa, msg, &r, &name); ok && r.End-r.DataOff >= 22 {
				soa = out
			}
		}
	}
	// Compression pointers point backwards, so the answer section depends on
	// nothing behind it. The SOA record is uncompressed.
	wire.SetCount(msg, wire.Authority, min(len(soa), 1))
	wire.SetCount(msg, wire.Additional, 0)
	return append(msg[:end], soa...)
}

// Alias sets name to the target of its CNAME record in the answer section of
// msg, and reports whether there is one.
func Alias(msg []byte, name *wire.Name) bool {
	var r wire.Record
	return findAlias(msg, name, &r)
}

func findAlias(msg []byte, name *wire.Name, r *wire.Record) bool {
	var owner wire.Name
	w := wire.NewWalk(msg)
	for w.Next(r) && r.Section == wire.Answer {
		if r.Type != wire.TypeCNAME {
			continue
		}
		if _, err := owner.Parse(msg, r.Off); err != nil || string(owner.Bytes()) != string(name.Bytes()) {
			continue
		}
		if _, err := owner.Parse(msg, r.DataOff); err != nil {
			return false
		}
		*name = owner
		return true
	}
	return false
}

// AppendAliases appends the first links of the chain of aliases that msg has
// for name to the message that begins at base, sets name to the last target,
// and returns the offset of that name in the message.
func AppendAliases(dst []byte, base int, msg []byte, name *wire.Name, links int) (out []byte, owner int) {
	owner = wire.HeaderLen
	for range links {
		var r wire.Record
		if !findAlias(msg, name, &r) || len(dst)-base > 1<<14-2*wire.MaxName {
			break // a compression pointer cannot reach further
		}
		dst = wire.AppendRecord(dst, base, wire.Answer, owner, wire.TypeCNAME, r.TTL, name.Bytes())
		owner = len(dst) - base - name.Len()
	}
	return dst, owner
}

// AppendAnswer appends the records of msg's answer section to that of the
// message that begins at base, and the SOA records of its authority section to
// that, all uncompressed. It stops before a record that is malformed or would
// make the message longer than max octets.
func AppendAnswer(dst []byte, base int, msg []byte, max int) []byte {
	var name wire.Name
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) {
		if r.Section != wire.Answer && !(r.Section == wire.Authority && r.Type == wire.TypeSOA) {
			continue
		}
		start := len(dst)
		out, ok := wire.AppendUncompressed(dst, msg, &r, &name)
		if !ok || len(out)-base > max {
			return dst[:start]
		}
		dst = out
		wire.AddCount(dst, base, r.Section, 1)
	}
	return dst
}
