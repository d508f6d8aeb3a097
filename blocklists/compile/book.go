package compile

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"rideau/blocklists"
	"rideau/blocklists/entry"
	"rideau/blocklists/internal/rule"
	"rideau/resolver/wire"
)

// book numbers sets of rules and what the rules refer to. Equal ones have one number.
type book struct {
	sets      [][]rule.Rule // 0 is the empty one
	index     map[string]uint32
	types     []rule.TypeSet // 0 is all types
	typeIndex map[string]uint16
	local     [][]blocklists.LocalRecord
	localSums map[[sha256.Size]byte]uint32
	used      int // octets of what was joined; see maxUsed
	// triggers are those of each list's rules, as bits.
	triggers [rule.MaxLists]uint8
}

func newBook() book {
	return book{sets: make([][]rule.Rule, 1), index: map[string]uint32{"": 0}, types: make([]rule.TypeSet, 1),
		typeIndex: map[string]uint16{}, localSums: map[[sha256.Size]byte]uint32{}}
}

// rule makes a rule of an entry. It keeps nothing of e.
func (b *book) rule(list int, e *entry.Entry) (rule.Rule, error) {
	r := rule.Rule{List: uint8(list), Trigger: e.Rule.Trigger, Action: e.Rule.Action, Covers: rule.Self, Cancel: e.Rule.Cancel, Bits: e.Rule.Spelling}
	switch {
	case e.Name == nil:
		r.Bits = uint8(e.Prefix.Bits())
	case e.Match == entry.Suffix:
		r.Covers = rule.Self | rule.Below
	case e.Match == entry.Below:
		r.Covers = rule.Below
	}
	switch {
	case e.Rule.Except && e.Rule.Important:
		r.Kind = rule.ExceptImportant
	case e.Rule.Except:
		r.Kind = rule.Except
	case e.Rule.Important:
		r.Kind = rule.Important
	}
	if e.Rule.Types != nil {
		key := fmt.Sprint(e.Rule.NotTypes, e.Rule.Types)
		n, ok := b.typeIndex[key]
		if !ok {
			if len(b.types) > 1<<16-1 {
				return r, errors.New("policy: more than 65,535 different sets of query types")
			}
			n = uint16(len(b.types))
			b.types = append(b.types, rule.TypeSet{Types: slices.Clone(e.Rule.Types), Not: e.Rule.NotTypes})
			b.typeIndex[key] = n
		}
		r.Types = n
	}
	if e.Rule.Action == entry.Local {
		r.Data = b.localData([]blocklists.LocalRecord{{Type: wire.Type(e.Rule.Type), TTL: e.Rule.TTL, Data: slices.Clone(e.Rule.Data)}})
	}
	b.triggers[list] |= 1 << r.Trigger
	return r, nil
}

// localData returns the number of local data: the records in order, without
// duplicates. It keeps their Data.
func (b *book) localData(records []blocklists.LocalRecord) uint32 {
	records = slices.Clone(records)
	slices.SortFunc(records, func(x, y blocklists.LocalRecord) int {
		return cmp.Or(cmp.Compare(x.Type, y.Type), slices.Compare(x.Data, y.Data), cmp.Compare(x.TTL, y.TTL))
	})
	records = slices.CompactFunc(records, func(x, y blocklists.LocalRecord) bool { return x.Type == y.Type && slices.Equal(x.Data, y.Data) })
	var key []byte
	for _, r := range records {
		key = binary.BigEndian.AppendUint16(key, uint16(r.Type))
		key = binary.BigEndian.AppendUint32(key, r.TTL)
		key = binary.BigEndian.AppendUint16(key, uint16(len(r.Data)))
		key = append(key, r.Data...)
	}
	sum := sha256.Sum256(key)
	n, ok := b.localSums[sum]
	if !ok {
		n = uint32(len(b.local))
		b.local = append(b.local, slices.Clip(records))
		b.localSums[sum] = n
	}
	return n
}

// set returns the number of a set of rules, which are in order. It does not keep the slice.
func (b *book) set(rules ...rule.Rule) uint32 {
	var key []byte
	for i := range rules {
		key = appendKey(key, &rules[i])
	}
	n, ok := b.index[string(key)]
	if !ok {
		n = uint32(len(b.sets))
		b.sets = append(b.sets, slices.Clone(rules))
		b.index[string(key)] = n
	}
	return n
}

// appendKey appends 12 octets that are the same for equal rules only.
func appendKey(key []byte, r *rule.Rule) []byte {
	key = append(key, r.List, byte(r.Trigger), byte(r.Action), byte(r.Covers), byte(r.Kind), r.Bits)
	if r.Cancel {
		key[len(key)-1] |= 0x80 // rules of prefixes never have Cancel, and a Spelling leaves the bit free
	}
	key = binary.BigEndian.AppendUint16(key, r.Types)
	return binary.BigEndian.AppendUint32(key, r.Data)
}

// compareRules puts rules in order: those of one list stand together.
func compareRules(a, b rule.Rule) int {
	var x, y [16]byte
	return slices.Compare(appendKey(x[:0], &a), appendKey(y[:0], &b))
}

// union returns the number of the set of the rules in either of two sets. Local data of one trigger
// becomes one answer.
func (b *book) union(x, y uint32) (uint32, error) {
	if x == y || y == 0 {
		return x, nil
	}
	if x == 0 {
		return y, nil
	}
	all := slices.Concat(b.sets[x], b.sets[y])
	slices.SortFunc(all, compareRules)
	out := all[:0]
	for _, r := range all {
		if n := len(out); n > 0 {
			last := &out[n-1]
			same := *last
			same.Data = r.Data
			if same == r {
				if r.Data != last.Data {
					both := slices.Concat(b.local[last.Data], b.local[r.Data])
					if err := b.use(int(r.List), sizeOf(both)); err != nil {
						return 0, err
					}
					last.Data = b.localData(both)
				}
				continue
			}
		}
		out = append(out, r)
	}
	list, most := largestShare(out)
	if most > maxNameRules {
		return 0, &tooMuch{list, errNameRules}
	}
	if err := b.use(list, ruleSize*len(out)); err != nil {
		return 0, err
	}
	return b.set(out...), nil
}
