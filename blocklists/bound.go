package blocklists

import (
	"errors"
	"fmt"
)

// A short list can say so much about a few names that the rules of policy, all kept at once, would fill the memory: each
// record more makes another answer of all before. These bounds are far beyond what a list has use for.
const (
	// maxNameRules is how many different rules one list may have about one name or address.
	maxNameRules = 128
	// maxHeld is how many octets rules and local data may take together, those included that others took the place of.
	maxHeld = 64 << 20

	// maxMarked is how many octets the names above a zone's names may take, if that is more than maxMarks times what those take.
	maxMarked, maxMarks = 64 << 20, 8

	ruleSize, recordSize = 40, 48 // octets, of a rule and of a record without its data
)

// tooMuch is the error of a policy that has no room for all that its lists say; list is at fault.
type tooMuch struct {
	list int
	what string
}

func (e *tooMuch) Error() string { return e.what }

var (
	errNameRules = fmt.Sprintf("more than %d different rules about one name; leave out some of them", maxNameRules)
	errHeld      = fmt.Sprintf("too many rules and records about the same names: they take more than %d MiB; leave out some of them", maxHeld>>20)
)

const errMarks = "too many names of many labels, with nothing in common; write wildcards, such as *.example.com"

const errCombinations = "policy: names lie in more than 65,535 different combinations of lists and local data; join some lists, or leave out some of the local data"

// hold makes room for so many octets, which a list is why.
func (b *ruleBook) hold(list, octets int) error {
	if b.held += octets; b.held > maxHeld {
		return &tooMuch{list, errHeld}
	}
	return nil
}

// crowd is the list that most of some rules are of, and how many are. The rules are in order.
func crowd(rules []rule) (list, most int) {
	run := 0
	for i := range rules {
		if run++; i > 0 && rules[i].list != rules[i-1].list {
			run = 1
		}
		if run > most {
			list, most = int(rules[i].list), run
		}
	}
	return list, most
}

func sizeOf(records []LocalRecord) int {
	n := 0
	for i := range records {
		n += recordSize + len(records[i].Data)
	}
	return n
}

// crowded is the error of more combinations than have a number. At fault is the list that has most of them by itself, if its
// rules are why.
func (c *compiler) crowded() error {
	fault := 0
	for i, n := range c.spent {
		if n > c.spent[fault] {
			fault = i
		}
	}
	if c.spent[fault] == 0 {
		return errors.New(errCombinations)
	}
	return &tooMuch{fault, errCombinations}
}

// blame adds the list that is at fault to what failed, if an error tells it.
func (r *Report) blame(p *Policy, err error) error {
	var much *tooMuch
	if !errors.As(err, &much) || much.list >= len(p.Lists) {
		return err
	}
	l := &p.Lists[much.list]
	e := &ListError{l.ID, l.Source, err}
	if much.Error() == err.Error() { // nobody said where yet
		e.Err = fmt.Errorf("%s: %w", l.Source, err)
	}
	r.Failed = []*ListError{e}
	return e
}
