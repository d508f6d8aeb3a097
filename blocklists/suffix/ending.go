package suffix

import (
	"cmp"
	"slices"
)

// ending is the last label, or the last two, of many names, in wire form without the
// root label, and the value of these names.
type ending struct {
	text  string
	value uint16
}

const (
	maxEndings = 255
	// endingLen is how many octets an ending takes beside its text.
	endingLen = 24
)

// tails returns the offsets of a path's last label and of the last two. They are
// the same if there is one label.
func tails(path []byte) (one, two int) {
	for i := 0; i < len(path); i += 1 + int(path[i]) {
		one, two = i, one
	}
	return one, two
}

// census counts endings, to find those that are worth a code.
type census map[ending]int

func (c census) add(path []byte, value uint16) {
	one, two := tails(path)
	c[ending{string(path[one:]), value}]++
	if two > 0 { // a name of two labels is no ending
		c[ending{string(path[two:]), value}]++
	}
}

// best returns the endings that save most; the first is a placeholder for code 0.
func (c census) best() []ending {
	type saving struct {
		ending
		octets int
	}
	var all []saving
	for e, n := range c {
		if octets := (n-1)*(len(e.text)+recordValue) - endingLen; octets > 0 {
			all = append(all, saving{e, octets})
		}
	}
	slices.SortFunc(all, func(a, b saving) int {
		return cmp.Or(b.octets-a.octets, cmp.Compare(a.text, b.text), cmp.Compare(a.value, b.value))
	})
	best := make([]ending, 1, len(all)+1)
	for _, s := range all[:min(len(all), maxEndings)] {
		best = append(best, s.ending)
	}
	return best
}

// coder finds the codes of endings. It is an open hash table, at most half full.
type coder struct {
	key     *key
	endings []ending
	codes   [512]uint8
}

func newCoder(k *key, endings []ending) *coder {
	c := &coder{key: k, endings: endings}
	for code := 1; code < len(endings); code++ {
		i := c.slot([]byte(endings[code].text), endings[code].value)
		for c.codes[i] != 0 {
			i = (i + 1) % len(c.codes)
		}
		c.codes[i] = uint8(code)
	}
	return c
}

func (c *coder) slot(text []byte, value uint16) int {
	return int((c.key.sum(text) + uint64(value)*0x9E3779B97F4A7C15) >> 55)
}

// code returns the code of the longest ending that a path has, and where it begins; 0 and
// the path's length if it has none.
func (c *coder) code(path []byte, value uint16) (code uint8, at int) {
	one, two := tails(path)
	if code = c.find(path[two:], value); code != 0 || one == two {
		if code == 0 {
			return 0, len(path)
		}
		return code, two
	}
	if code = c.find(path[one:], value); code != 0 {
		return code, one
	}
	return 0, len(path)
}

func (c *coder) find(text []byte, value uint16) uint8 {
	for i := c.slot(text, value); c.codes[i] != 0; i = (i + 1) % len(c.codes) {
		e := &c.endings[c.codes[i]]
		if e.value == value && e.text == string(text) {
			return c.codes[i]
		}
	}
	return 0
}
