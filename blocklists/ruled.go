package blocklists

import "rideau/blocklists/internal/rule"

// excepting adds the lists that except q's name to gone, and those that except it
// even from important rules to allGone. To others, unless it is nil, it adds the lists that
// except the name for other query types.
func (s *Snapshot) excepting(q *Ask, gone, allGone, others *rule.Set) {
	labels := q.Name.Labels()
	for m := s.trie.Match(q.Name); ; {
		k, i, ok := m.Next()
		if !ok {
			return
		}
		rules := s.rules[s.values[i].Rules]
		for j := range rules {
			r := &rules[j]
			if r.Cancel || r.Kind != rule.Except && r.Kind != rule.ExceptImportant || !r.About(k, labels) || r.Cancelled(rules) {
				continue
			}
			if !s.types[r.Types].Has(q.Type) {
				if others != nil {
					others.Add(int(r.List))
				}
				continue
			}
			gone.Add(int(r.List))
			if r.Kind == rule.ExceptImportant {
				allGone.Add(int(r.List))
			}
		}
	}
}

// ruled is the verdict on a name whose lists have rules. A name that a
// list excepts is not on the list, unless a rule for it is important. allow says whether exceptions of the policy count.
// Of the lists in without, unless it is nil, only important rules count, and of those in
// withoutAny nothing at all.
func (s *Snapshot) ruled(q *Ask, sc *scope, allow bool, without, withoutAny *rule.Set) Verdict {
	var f finding
	var gone, allGone rule.Set
	if without != nil {
		gone, allGone = *without, *withoutAny
	}
	var p typedLists
	labels := q.Name.Labels()
	s.excepting(q, &gone, &allGone, &p.excepted)
	for m := s.trie.Match(q.Name); ; {
		k, i, ok := m.Next()
		if !ok {
			return p.limit(s.verdict(sc, f))
		}
		n := &s.values[i]
		set := n.Below
		if k == labels {
			set = n.Self
		}
		for w := range set {
			set[w] &^= gone[w]
			if !allow {
				set[w] &^= sc.allow[w] // bans do not have these
			}
			p.whole[w] |= set[w]
		}
		rules := s.rules[n.Rules]
		for j := range rules {
			// Where a list has an entry for the name alone and one for the name and all below it, the two cannot be
			// distinguished: the first stays if it is cancelled, and both go with the second.
			r := &rules[j]
			if r.CancelsPlain(n) {
				set.Remove(int(r.List))
				p.whole.Remove(int(r.List))
			}
		}
		for j := range rules {
			r := &rules[j]
			switch {
			case r.Cancel || r.Kind == rule.Except || r.Kind == rule.ExceptImportant || r.OfZone():
				continue
			case !r.About(k, labels) || !s.types[r.Types].Has(q.Type) || r.Cancelled(rules):
				continue
			}
			if (r.Kind == rule.Important && !allGone.Has(int(r.List)) || !gone.Has(int(r.List))) && (allow || !sc.allow.Has(int(r.List))) {
				set.Add(int(r.List))
				p.note(r)
			}
		}
		f = sc.decide(f, &set, k)
	}
}

// typedLists are the lists that have a name for some query types only.
type typedLists struct {
	excepted rule.Set // they except it for other types
	typed    rule.Set // rules for some types have it
	whole    rule.Set // something else has it
}

// note notes that a rule has the name.
func (p *typedLists) note(r *rule.Rule) {
	if r.Types != 0 {
		p.typed.Add(int(r.List))
	} else {
		p.whole.Add(int(r.List))
	}
}

// limit changes a verdict about some query types so that it does not affect the others: NXDOMAIN
// holds for all types of a name (RFC 2308 section 5, RFC 8020 section 2), and
// a client that caches it does not ask for another type.
func (p *typedLists) limit(v Verdict) Verdict {
	l := int(v.List)
	if v.Kind == Block && v.Action == NXDomain && (p.excepted.Has(l) || p.typed.Has(l) && !p.whole.Has(l)) {
		v.Action = NoData
	}
	return v
}
