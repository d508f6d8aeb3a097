package alert

// Seen remembers what was seen, within bounded memory: at least half of the bound,
// the latest. Use NewSeen. It is for one goroutine.
type Seen[K comparable] struct {
	half     int
	new, old map[K]struct{}
}

// NewSeen makes a Seen for at most bound things.
func NewSeen[K comparable](bound int) *Seen[K] {
	return &Seen[K]{half: max(bound/2, 1), new: map[K]struct{}{}}
}

// First reports whether k was not seen before, as far as is remembered, and
// remembers it.
func (s *Seen[K]) First(k K) bool {
	if _, ok := s.new[k]; ok {
		return false
	}
	_, known := s.old[k]
	if len(s.new) >= s.half {
		s.old, s.new = s.new, map[K]struct{}{}
	}
	s.new[k] = struct{}{}
	return !known
}
