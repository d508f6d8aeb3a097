package response

import (
	"hash/maphash"

	"rideau/resolver/wire"
)

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

// Aliases are the CNAME records of a response's answer section. It borrows the
// message.
type Aliases struct {
	msg   []byte
	seed  maphash.Seed
	links []Link
}

// Link is one CNAME record.
type Link struct {
	hash          uint64 // of the owner name
	owner, target int    // offsets
	ttl           uint32
}

// UsualLinks is the number of links for which the memory that a caller gives to
// [ReadAliases] usually suffices.
const UsualLinks = 8

// ReadAliases reads the aliases of msg, each once, so that a chain of any length
// can be followed without another walk. They are appended to tmp, which is
// empty; more than its capacity are allocated.
func ReadAliases(msg []byte, tmp []Link) Aliases {
	a := Aliases{msg: msg, links: tmp}
	var owner wire.Name
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) && r.Section == wire.Answer {
		if r.Type != wire.TypeCNAME {
			continue
		}
		if _, err := owner.Parse(msg, r.Off); err != nil {
			continue
		}
		if len(a.links) == 0 {
			a.seed = maphash.MakeSeed()
		}
		a.links = append(a.links, Link{maphash.Bytes(a.seed, owner.Bytes()), r.Off, r.DataOff, r.TTL})
	}
	return a
}

// Follow sets name to the target of its CNAME record, the first if it has
// several, and reports whether there is one.
func (a *Aliases) Follow(name *wire.Name) bool {
	_, ok := a.follow(name)
	return ok
}

func (a *Aliases) follow(name *wire.Name) (ttl uint32, ok bool) {
	if len(a.links) == 0 {
		return 0, false
	}
	var other wire.Name
	h := maphash.Bytes(a.seed, name.Bytes())
	for i := range a.links {
		l := &a.links[i]
		if l.hash != h {
			continue
		}
		if _, err := other.Parse(a.msg, l.owner); err != nil || string(other.Bytes()) != string(name.Bytes()) {
			continue
		}
		if _, err := other.Parse(a.msg, l.target); err != nil {
			return 0, false
		}
		*name = other
		return l.ttl, true
	}
	return 0, false
}

// AppendAliases appends the first links of the chain of aliases that msg has
// for name to the message that begins at base, sets name to the last target,
// and returns the offset of that name in the message.
func AppendAliases(dst []byte, base int, msg []byte, name *wire.Name, links int) (out []byte, owner int) {
	owner = wire.HeaderLen
	if links == 0 {
		return dst, owner
	}
	var tmp [UsualLinks]Link
	aliases := ReadAliases(msg, tmp[:0])
	for range links {
		if len(dst)-base > 1<<14-2*wire.MaxName {
			break // a compression pointer cannot reach further
		}
		ttl, ok := aliases.follow(name)
		if !ok {
			break
		}
		dst = wire.AppendRecord(dst, base, wire.Answer, owner, wire.TypeCNAME, ttl, name.Bytes())
		owner = len(dst) - base - name.Len()
	}
	return dst, owner
}

// AppendAnswer appends the records of msg's answer section to that of the
// message that begins at base, and the SOA records of its authority section to
// that. It stops before a record that is malformed or would make the message
// longer than max octets.
func AppendAnswer(dst []byte, base int, msg []byte, max int) []byte {
	out := continueWriter(dst, base, max)
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) {
		if r.Section != wire.Answer && !(r.Section == wire.Authority && r.Type == wire.TypeSOA) {
			continue
		}
		if !out.add(msg, &r) {
			break
		}
	}
	return out.out
}
