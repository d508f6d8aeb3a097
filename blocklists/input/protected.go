package input

import (
	"fmt"

	"rideau/blocklists/entry"
	"rideau/resolver/wire"
)

// Protected is a set of names that some lists may not block. It is immutable.
type Protected struct {
	names  map[string]string // in wire form, to what messages call them
	above  map[string]string // names above those, to one of them
	remedy string
}

// NewProtected makes a set of names in presentation form; remedy is what messages tell to do.
func NewProtected(names []string, remedy string) (*Protected, error) {
	p := &Protected{map[string]string{}, map[string]string{}, remedy}
	for _, text := range names {
		var n wire.Name
		if err := n.SetText(text); err != nil {
			return nil, fmt.Errorf("protected.names: %q: %w", text, err)
		}
		w := n.Bytes()
		p.names[string(w)] = n.String()
		for up := w; len(up) > 1; {
			up = up[1+int(up[0]):]
			if _, ok := p.above[string(up)]; !ok {
				p.above[string(up)] = n.String()
			}
		}
	}
	return p, nil
}

// affected is the protected name that an entry is about: the entry names it, or a name below it, or covers it from above. It is empty if there is none.
func (p *Protected) affected(name []byte, m entry.Match) string {
	for up := name; len(up) > 1; up = up[1+int(up[0]):] {
		if s, ok := p.names[string(up)]; ok {
			return s
		}
	}
	if m == entry.Exact {
		return ""
	}
	return p.above[string(name)]
}

// Contains reports whether a name is protected, or lies below one that is. It does not allocate.
func (p *Protected) Contains(name *wire.Name) bool {
	for up := name.Bytes(); len(up) > 1; up = up[1+int(up[0]):] {
		if _, ok := p.names[string(up)]; ok {
			return true
		}
	}
	return false
}
