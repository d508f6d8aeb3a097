package format

import (
	"bytes"
	"unicode/utf8"

	"rideau/blocklists/format/syntax"
)

// Detect tells the format of a list from how it begins. It never returns Auto. A list that
// has no marks of any other format is Plain. Detect looks at whole lines only, unless
// there is but one.
//
// The format is what most lines say. One line must not decide how thousands of others are
// read: a bare name covers what is below it in a plain list and nowhere else. So the rules of adblock syntax,
// the rows of a pack, the options of dnsmasq, and lines of address and name
// each have to be as many as the lines that are nothing but a name. A zone has an SOA record or a directive, and few lines
// that are bare names. A first line [Adblock ...] or the header of a pack is what its maker says, and decides.
func Detect(head []byte) Format {
	if i := bytes.LastIndexByte(head, '\n'); i >= 0 {
		head = head[:i]
	}
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	count, lines := map[Format]int{}, 0
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\n"))
		line = syntax.Trim(line)
		if len(line) == 0 || line[0] == ';' {
			continue
		}
		if f := declared(line); f != "" && lines == 0 {
			return f
		}
		if isNote(line) || line[0] == '#' && !isPackRow(line) {
			continue
		}
		lines++
		if n := lookAlike(line); n != nil {
			count[n.name]++
		}
	}
	adblock, hosts, plain, pack := count[Adblock], count[Hosts], count[Plain], count[Pack]
	switch {
	case count[RPZ] > 0 && plain <= lines-plain:
		return RPZ
	case pack > 0 && pack >= max(adblock, hosts, plain, count[Dnsmasq]):
		return Pack
	case count[Dnsmasq] > max(adblock, hosts, plain):
		return Dnsmasq
	case adblock > 0 && adblock >= hosts && adblock >= plain:
		return Adblock
	case hosts > 0 && hosts >= plain:
		return Hosts
	}
	return Plain
}

// declared returns the format that a header names; empty if the line is none.
func declared(line []byte) Format {
	switch {
	case bytes.HasPrefix(bytes.ToLower(line), []byte("[adblock")):
		return Adblock
	case bytes.HasPrefix(line, []byte("#domain\t")) && isPackRow(line):
		return Pack
	}
	return ""
}

// isNote reports whether a line is a comment of adblock syntax. No name begins so, and people
// put such lines into lists of other formats.
func isNote(line []byte) bool { return line[0] == '!' }

// isPlain reports whether a line may be a name, an address or a block: it is not like a setting of a
// program, which is a word without dots, and has nothing that names and addresses do not have.
func isPlain(line []byte) bool {
	line = syntax.Uncomment(line)
	option, _, _ := bytes.Cut(line, []byte("="))
	if len(line) == 0 || isWord(option) {
		return false
	}
	text := bytes.TrimPrefix(bytes.TrimPrefix(line, []byte("=")), []byte("*."))
	for _, b := range text {
		if !syntax.HostChar[b] && b < utf8.RuneSelf {
			return syntax.LikeAddress(text)
		}
	}
	return true
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
