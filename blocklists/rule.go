package blocklists

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"rideau/blocklists/format"
	"rideau/resolver/wire"
)

// rule is what an entry says that is more than a name in a list: an entry of
// a policy zone, or one of an adblock list with modifiers. The names of simple lists have none, and
// decisions about them never look at one.
type rule struct {
	list    uint8
	trigger format.Trigger
	action  format.Action // Listed where the entry is of no policy zone
	covers  cover
	kind    ruleKind
	bits    uint8  // of the prefix that it is about
	types   uint16 // in compiler.types; 0 is all
	data    uint32 // in compiler.data, with the action Local
	// cancel takes back the rule that is the same but for this, or the plain
	// entry if there would be no rule.
	cancel bool
}

// cover says which names a rule is about: that where it stands, and those
// below.
type cover uint8

const (
	coversSelf cover = 1 << iota
	coversBelow
)

type ruleKind uint8

const (
	ordinary ruleKind = iota
	except            // takes the names out of the list, but for what is important
	important
	exceptImportant // takes all out
	// nothing marks a name that only has names below it in its zone (an
	// empty non-terminal): what a wildcard above covers ends there (RFC 4592
	// section 3.3.1).
	nothing
)

func (r *rule) ofZone() bool { return r.action != format.Listed || r.kind == nothing }

// about reports whether the rule covers a name, when it stands labels deep.
func (r *rule) about(labels, of int) bool {
	if labels == of {
		return r.covers&coversSelf != 0
	}
	return r.covers&coversBelow != 0
}

// cancelled reports whether a rule of the same node takes r back.
func (r *rule) cancelled(by []rule) bool {
	twin := *r
	twin.cancel = true
	return slices.Contains(by, twin)
}

// typeSet is the query types that a rule is about.
type typeSet struct {
	types []uint16
	not   bool
}

func (t *typeSet) has(q wire.Type) bool {
	return q == 0 || len(t.types) == 0 || slices.Contains(t.types, uint16(q)) != t.not
}

// LocalRecord is a record that a policy zone answers with.
type LocalRecord struct {
	Type wire.Type
	TTL  uint32
	Data []byte // RDATA, names in it uncompressed
}

// ruleBook gathers rules, sets of rules, and what they refer to; equal ones
// are kept once.
type ruleBook struct {
	sets  [][]rule // 0 is none
	index map[string]uint32
	types []typeSet // 0 is all
	typed map[string]uint16
	data  [][]LocalRecord
	known map[[sha256.Size]byte]uint32
	held  int // octets of what was joined; see maxHeld
	// lists says which triggers a list has.
	triggers [MaxLists]uint8
}

func newRuleBook() ruleBook {
	return ruleBook{sets: make([][]rule, 1), index: map[string]uint32{"": 0}, types: make([]typeSet, 1),
		typed: map[string]uint16{}, known: map[[sha256.Size]byte]uint32{}}
}

// rule makes a rule of an entry.
func (b *ruleBook) rule(list int, e *format.Entry) (rule, error) {
	r := rule{list: uint8(list), trigger: e.Rule.Trigger, action: e.Rule.Action, covers: coversSelf, cancel: e.Rule.Cancel}
	switch {
	case e.Name == nil:
		r.bits = uint8(e.Prefix.Bits())
	case e.Match == format.Suffix:
		r.covers = coversSelf | coversBelow
	case e.Match == format.Below:
		r.covers = coversBelow
	}
	switch {
	case e.Rule.Except && e.Rule.Important:
		r.kind = exceptImportant
	case e.Rule.Except:
		r.kind = except
	case e.Rule.Important:
		r.kind = important
	}
	if e.Rule.Types != nil {
		key := fmt.Sprint(e.Rule.NotTypes, e.Rule.Types)
		n, ok := b.typed[key]
		if !ok {
			if len(b.types) > 1<<16-1 {
				return r, errors.New("policy: more than 65,535 different sets of query types")
			}
			n = uint16(len(b.types))
			b.types = append(b.types, typeSet{slices.Clone(e.Rule.Types), e.Rule.NotTypes})
			b.typed[key] = n
		}
		r.types = n
	}
	if e.Rule.Action == format.Local {
		r.data = b.local([]LocalRecord{{wire.Type(e.Rule.Type), e.Rule.TTL, slices.Clone(e.Rule.Data)}})
	}
	b.triggers[list] |= 1 << r.trigger
	return r, nil
}

// local is the number of some records. Their data is kept.
func (b *ruleBook) local(records []LocalRecord) uint32 {
	records = slices.Clone(records)
	slices.SortFunc(records, func(x, y LocalRecord) int {
		return cmp.Or(cmp.Compare(x.Type, y.Type), slices.Compare(x.Data, y.Data), cmp.Compare(x.TTL, y.TTL))
	})
	records = slices.CompactFunc(records, func(x, y LocalRecord) bool { return x.Type == y.Type && slices.Equal(x.Data, y.Data) })
	var key []byte
	for _, r := range records {
		key = binary.BigEndian.AppendUint16(key, uint16(r.Type))
		key = binary.BigEndian.AppendUint32(key, r.TTL)
		key = binary.BigEndian.AppendUint16(key, uint16(len(r.Data)))
		key = append(key, r.Data...)
	}
	sum := sha256.Sum256(key)
	n, ok := b.known[sum]
	if !ok {
		n = uint32(len(b.data))
		b.data = append(b.data, slices.Clip(records))
		b.known[sum] = n
	}
	return n
}

// set is the number of a set of rules, which are not kept.
func (b *ruleBook) set(rules ...rule) uint32 {
	var key []byte
	for _, r := range rules {
		key = r.append(key)
	}
	n, ok := b.index[string(key)]
	if !ok {
		n = uint32(len(b.sets))
		b.sets = append(b.sets, slices.Clone(rules))
		b.index[string(key)] = n
	}
	return n
}

func (r *rule) append(key []byte) []byte {
	key = append(key, r.list, byte(r.trigger), byte(r.action), byte(r.covers), byte(r.kind), r.bits)
	if r.cancel {
		key[len(key)-1] |= 0x80 // a prefix has bits, and nothing to cancel
	}
	key = binary.BigEndian.AppendUint16(key, r.types)
	return binary.BigEndian.AppendUint32(key, r.data)
}

func (r rule) compare(o rule) int {
	var x, y [16]byte
	return slices.Compare(r.append(x[:0]), o.append(y[:0]))
}

// union is the set of the rules in either of two. Local data of one trigger
// becomes one answer.
func (b *ruleBook) union(x, y uint32) (uint32, error) {
	if x == y || y == 0 {
		return x, nil
	}
	if x == 0 {
		return y, nil
	}
	all := slices.Concat(b.sets[x], b.sets[y])
	slices.SortFunc(all, rule.compare)
	out := all[:0]
	for _, r := range all {
		if n := len(out); n > 0 {
			last := &out[n-1]
			same := *last
			same.data = r.data
			if same == r {
				if r.data != last.data {
					both := slices.Concat(b.data[last.data], b.data[r.data])
					if err := b.hold(int(r.list), sizeOf(both)); err != nil {
						return 0, err
					}
					last.data = b.local(both)
				}
				continue
			}
		}
		out = append(out, r)
	}
	fault, most := crowd(out)
	if most > maxNameRules {
		return 0, &tooMuch{fault, errNameRules}
	}
	if err := b.hold(fault, ruleSize*len(out)); err != nil {
		return 0, err
	}
	return b.set(out...), nil
}
