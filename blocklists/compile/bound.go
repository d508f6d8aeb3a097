package compile

import (
	"errors"
	"fmt"

	"rideau/blocklists"
	"rideau/blocklists/internal/rule"
)

// A short list can say so much about a few names that the rules of all combinations would fill the memory: each
// further record makes another answer of all before. These bounds are far beyond what a list needs.
const (
	// maxNameRules is how many different rules one list may have about one name or address.
	maxNameRules = 128
	// maxUsed is how many octets rules and local data may take together, those included that others replaced.
	maxUsed = 64 << 20

	// maxMarked is how many octets the names above a zone's names may take, if that is more than maxMarks times what those take.
	maxMarked, maxMarks = 64 << 20, 8

	ruleSize, recordSize = 40, 48 // octets of a rule, and of a record without its data
)

// tooMuch is the error of a policy whose lists say more than the bounds allow. The list of that index is at fault.
type tooMuch struct {
	list int
	what string
}

func (e *tooMuch) Error() string { return e.what }

var (
	errNameRules = fmt.Sprintf("more than %d different rules about one name; leave out some of them", maxNameRules)
	errUsed      = fmt.Sprintf("too many rules and records about the same names: they take more than %d MiB; leave out some of them", maxUsed>>20)
)

const errMarks = "too many names of many labels, with nothing in common; write wildcards, such as *.example.com"

const errValues = "policy: names lie in more than 65,535 different combinations of lists and local data; join some lists, or leave out some of the local data"

// use counts octets that rules of a list take. It returns an error if they are too many in all.
func (b *book) use(list, octets int) error {
	if b.used += octets; b.used > maxUsed {
		return &tooMuch{list, errUsed}
	}
	return nil
}

// largestShare returns the list that has most of the rules, which are in order, and how many it has.
func largestShare(rules []rule.Rule) (list, most int) {
	run := 0
	for i := range rules {
		if run++; i > 0 && rules[i].List != rules[i-1].List {
			run = 1
		}
		if run > most {
			list, most = int(rules[i].List), run
		}
	}
	return list, most
}

func sizeOf(records []blocklists.LocalRecord) int {
	n := 0
	for i := range records {
		n += recordSize + len(records[i].Data)
	}
	return n
}

// tooManyValues is the error of more values than there are numbers. If rules take values of their own, the list whose
// rules take most is at fault.
func (c *compiler) tooManyValues() error {
	fault := 0
	for i, n := range c.spent {
		if n > c.spent[fault] {
			fault = i
		}
	}
	if c.spent[fault] == 0 {
		return errors.New(errValues)
	}
	return &tooMuch{fault, errValues}
}

// blame makes the list that is at fault, if err tells one, the only failed one, and returns the error to report.
func (r *Report) blame(p *blocklists.Policy, err error) error {
	var much *tooMuch
	if !errors.As(err, &much) || much.list >= len(p.Lists) {
		return err
	}
	l := &p.Lists[much.list]
	e := &ListError{l.ID, l.Source, err}
	if much.Error() == err.Error() { // it has no place yet
		e.Err = fmt.Errorf("%s: %w", l.Source, err)
	}
	r.Failed = []*ListError{e}
	return e
}
