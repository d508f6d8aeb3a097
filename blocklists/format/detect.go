package format

import (
	"bytes"

	"rideau/blocklists/format/syntax"
)

// Detect tells the format of a list from how it begins. It never returns Auto. A list that
// has no marks of any other format is Plain. Detect looks at whole lines only, unless
// there is but one.
//
// A zone has an SOA record; a pack has the words of its second column between
// tabs; an adblock list has at least as many rules with its marks as lines of address and name; a hosts file
// has at least as many of these as bare names; dnsmasq's options begin with their
// names, and are most of their list.
func Detect(head []byte) Format {
	if i := bytes.LastIndexByte(head, '\n'); i >= 0 {
		head = head[:i]
	}
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	count := map[Format]int{}
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\n"))
		line = syntax.Trim(line)
		if len(line) == 0 || line[0] == ';' || line[0] == '#' && !isPackRow(line) {
			continue
		}
		n := lookAlike(line)
		if n != nil && n.certain {
			return n.name
		}
		if n != nil {
			count[n.name]++
		}
	}
	adblock, hosts, plain := count[Adblock], count[Hosts], count[Plain]
	switch {
	case count[Dnsmasq] > max(adblock, hosts, plain):
		return Dnsmasq
	case adblock > 0 && adblock >= hosts:
		return Adblock
	case hosts > 0 && hosts >= plain:
		return Hosts
	}
	return Plain
}

// lookAlike returns the format that a line has the marks of, the first by turn; nil if
// there is none.
func lookAlike(line []byte) *notation {
	for turn := 1; turn <= len(notations); turn++ {
		for i := range notations {
			if n := &notations[i]; n.turn == turn && n.marks(line) {
				return n
			}
		}
	}
	return nil
}
