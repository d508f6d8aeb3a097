package response

import (
	"hash/maphash"
	"slices"

	"rideau/resolver/wire"
)

// MaxChain is how many aliases a chain may have. Other resolvers give up after some 10
// to 16.
const MaxChain = 128

// maxDNAMEs is how many DNAME records of a response are read.
const maxDNAMEs = 16

// A Router says which names another upstream is asked for.
type Router interface {
	// Elsewhere reports whether what an alias leads to is to be asked for
	// elsewhere, whatever the response says about it.
	Elsewhere(target *wire.Name) bool
}

// Ending is how the chain of aliases of a response ends.
type Ending uint8

const (
	Whole     Ending = iota // the response says all about the last name
	Dangling                // it says nothing about it, not even that there is nothing
	Elsewhere               // the Router has the last name asked for elsewhere
	Endless                 // it leads in a circle, or has more than MaxChain aliases
)

// chain is the one way that leads from the question's name along aliases.
type chain struct {
	msg     []byte // behind the message, names that were made of DNAME records
	qtype   wire.Type
	qclass  wire.Class
	router  Router
	aliases []alias
	dnames  int
	names   []link
	ending  Ending
	made    int  // links that have no CNAME record
	tooLong bool // the last DNAME record makes too long a name (RFC 6672 section 2.2)

	compared int
	seeded   bool
	seed     maphash.Seed
	scratch  wire.Name
}

// reset makes c ready for a message.
func (c *chain) reset(msg []byte, router Router) {
	c.msg, c.router, c.aliases, c.names = msg, router, c.aliases[:0], c.names[:0]
	c.dnames, c.ending, c.made, c.tooLong, c.compared = 0, Whole, 0, false, 0
}

// placedName is a name by its offset. hash is 0 until it is needed.
type placedName struct {
	off, labels int
	hash        uint64
}

// alias is a CNAME or DNAME record of the answer section.
type alias struct {
	owner placedName
	data  int // offset of the target
	ttl   uint32
	dname bool
	link  int // the first link that it makes; -1 for none
}

// link is a name of the chain, and the records that lead on from it: indexes of
// aliases, -1 for none. Without a CNAME record the DNAME record alone leads on.
type link struct {
	placedName
	cname, dname int
	signatures   [2]uint8 // of CNAME, of DNAME
}

// last is the index of the chain's last name.
func (c *chain) last() int { return len(c.names) - 1 }

// collect reads the aliases of the answer section, in the order in which they
// stand.
func (c *chain) collect() {
	w := wire.NewWalk(c.msg)
	var rec wire.Record
	for w.Next(&rec) && rec.Section == wire.Answer {
		if isAlias(&rec, c.qclass) {
			c.aliases = append(c.aliases, alias{owner: placedName{off: rec.Off}, data: rec.DataOff, ttl: rec.TTL, dname: rec.Type == wire.TypeDNAME, link: -1})
		}
	}
	for i := range c.aliases {
		a := &c.aliases[i]
		if !a.dname {
			continue
		}
		if c.dnames++; c.dnames > maxDNAMEs {
			c.dnames = maxDNAMEs
			break
		}
		a.owner = c.name(a.owner.off)
	}
}

func isAlias(rec *wire.Record, class wire.Class) bool {
	return (rec.Type == wire.TypeCNAME || rec.Type == wire.TypeDNAME) && rec.Class == class
}

// follow finds the chain, in whatever order the aliases stand. To a question for
// CNAME the first link is the answer.
func (c *chain) follow() {
	for len(c.aliases) > 0 && !(c.qtype == wire.TypeCNAME && len(c.names) == 2) {
		if proves(c.qtype) && c.hasData() {
			return // an alias has signatures and proofs of its own (RFC 4035 section 2.5)
		}
		at := c.last()
		target, ok := c.link(at)
		if !ok {
			return
		}
		if c.qtype != wire.TypeCNAME {
			if len(c.names) > MaxChain || c.named(target) >= 0 {
				c.ending = Endless
				return
			}
			if c.router != nil {
				if _, err := c.scratch.Parse(c.msg, target); err == nil && c.router.Elsewhere(&c.scratch) {
					c.ending = Elsewhere
				}
			}
		}
		c.mark(at)
		c.names = append(c.names, link{placedName: c.name(target), cname: -1, dname: -1})
		if c.ending == Elsewhere {
			return
		}
	}
}

// mark notes with its records that the chain leads on from a name.
func (c *chain) mark(at int) {
	for _, k := range [...]int{c.names[at].cname, c.names[at].dname} {
		if k >= 0 && c.aliases[k].link < 0 {
			c.aliases[k].link = at
		}
	}
}

// link finds the records that lead on from a name, and returns the offset of the
// name that they lead to. Where there is a DNAME record above the name, the CNAME
// record has to agree with it (RFC 6672 section 3.1); one that is missing or does
// not agree is replaced.
func (c *chain) link(at int) (target int, ok bool) {
	l := &c.names[at]
	l.cname = c.cname(&l.placedName)
	if l.dname = c.dname(l); l.dname < 0 {
		if l.cname < 0 {
			return 0, false
		}
		return c.aliases[l.cname].data, true
	}
	if l.cname >= 0 {
		return c.aliases[l.cname].data, true
	}
	var tmp [2 * wire.MaxName]byte
	name, ok := c.substitute(tmp[:0], &l.placedName, &c.aliases[l.dname])
	if !ok || wire.HeaderRcode(c.msg) == wire.YXDomain {
		c.tooLong = true
		c.aliases[l.dname].link = at
		return 0, false
	}
	if c.made++; c.made == 1 {
		c.msg = slices.Clone(c.msg)
	}
	target = len(c.msg)
	c.msg = append(c.msg, name...)
	return target, true
}

// cname returns the index of the first CNAME record of a name, or -1.
func (c *chain) cname(name *placedName) int {
	many := len(c.aliases) > fewNames
	if many && name.hash == 0 {
		name.hash = c.hash(name.off)
	}
	for i := range c.aliases {
		a := &c.aliases[i]
		if a.dname {
			continue
		}
		if many {
			if a.owner.hash == 0 {
				a.owner.hash = c.hash(a.owner.off)
			}
			if a.owner.hash != name.hash {
				continue
			}
		}
		if c.same(a.owner.off, name.off) {
			return i
		}
	}
	return -1
}

// dname returns the index of the DNAME record above a name that agrees with the
// name's CNAME record. If none does, that is the first, and l.cname becomes -1.
// It returns -1 if there is none.
func (c *chain) dname(l *link) int {
	first, seen := -1, 0
	for i := 0; i < len(c.aliases) && seen < c.dnames; i++ {
		a := &c.aliases[i]
		if !a.dname {
			continue
		}
		seen++
		if l.labels <= a.owner.labels || !c.within(l.placedName, a.owner) {
			continue
		}
		if l.cname >= 0 && c.agrees(l, a) {
			return i
		}
		if first < 0 {
			first = i
		}
	}
	if first >= 0 {
		l.cname = -1
	}
	return first
}

// agrees reports whether a DNAME record makes a name an alias as the name's
// CNAME record does.
func (c *chain) agrees(l *link, a *alias) bool {
	var tmp [2 * wire.MaxName]byte
	name, ok := c.substitute(tmp[:0], &l.placedName, a)
	if !ok {
		return false
	}
	_, err := c.scratch.Parse(c.msg, c.aliases[l.cname].data)
	return err == nil && string(name) == string(c.scratch.Bytes())
}

// substitute appends to dst the name that a DNAME record makes of a name below its
// own. ok is false if it is too long.
func (c *chain) substitute(dst []byte, name *placedName, a *alias) (out []byte, ok bool) {
	if _, err := c.scratch.Parse(c.msg, name.off); err != nil {
		return dst, false
	}
	out = append(dst, c.scratch.Bytes()[:c.scratch.SuffixOffset(a.owner.labels)]...)
	if _, err := c.scratch.Parse(c.msg, a.data); err != nil {
		return dst, false
	}
	out = append(out, c.scratch.Bytes()...)
	return out, len(out) <= wire.MaxName
}

// hasData reports whether the answer section has a record of the question's type
// for the last name.
func (c *chain) hasData() bool {
	w := wire.NewWalk(c.msg)
	var rec wire.Record
	for w.Next(&rec) && rec.Section == wire.Answer {
		if rec.Type == c.qtype && rec.Class == c.qclass && c.same(rec.Off, c.names[c.last()].off) {
			return true
		}
	}
	return false
}

// fewNames is the number of names up to which comparing a name with each costs
// less than its hash.
const fewNames = 4

// named returns the index of the name at off in the chain, or -1. The last
// comes first, since most records are for it.
func (c *chain) named(off int) int {
	if c.same(off, c.names[c.last()].off) {
		return c.last()
	}
	if len(c.names) > fewNames {
		return c.namedByHash(off)
	}
	for i := range c.names[:c.last()] {
		if c.same(off, c.names[i].off) {
			return i
		}
	}
	return -1
}

// namedByHash is named for many names. The work does not depend on their number
// but for a comparison of hashes with each.
func (c *chain) namedByHash(off int) int {
	h := c.hash(off)
	for i := range c.names {
		n := &c.names[i]
		if n.hash == 0 {
			n.hash = c.hash(n.off)
		}
		if n.hash == h && c.same(off, n.off) {
			return i
		}
	}
	return -1
}

// hash is the hash of the name at off, never 0.
func (c *chain) hash(off int) uint64 {
	if !c.seeded {
		c.seed, c.seeded = maphash.MakeSeed(), true
	}
	c.scratch.Parse(c.msg, off)
	return maphash.Bytes(c.seed, c.scratch.Bytes()) | 1
}

// above reports whether the name at off is at or above the first or the last
// name of the chain.
func (c *chain) above(off int) bool {
	zone := c.name(off)
	return c.within(c.names[0].placedName, zone) || len(c.names) > 1 && c.within(c.names[c.last()].placedName, zone)
}

// same reports whether the names at two offsets are equal in any letter case.
// After maxCompared comparisons it reports false.
func (c *chain) same(a, b int) bool {
	if c.compared++; c.compared > maxCompared {
		return false
	}
	return wire.SameName(c.msg, a, b)
}

// name is the name at off.
func (c *chain) name(off int) placedName {
	n := placedName{off: off}
	for off = wire.Parent(c.msg, off); off >= 0; off = wire.Parent(c.msg, off) {
		n.labels++
	}
	return n
}

// within reports whether a name is the zone's, or below it.
func (c *chain) within(name, zone placedName) bool {
	if name.labels < zone.labels {
		return false
	}
	off := name.off
	for range name.labels - zone.labels {
		off = wire.Parent(c.msg, off)
	}
	return c.same(off, zone.off)
}
