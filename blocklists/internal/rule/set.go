package rule

// MaxLists is how many lists a policy may have.
const MaxLists = 256

// Set is a set of lists, each by its index in the policy.
type Set [MaxLists / 64]uint64

// Add adds a list.
func (s *Set) Add(i int) { s[i/64] |= 1 << (i % 64) }

// Remove removes a list.
func (s *Set) Remove(i int) { s[i/64] &^= 1 << (i % 64) }

// Has reports whether the list is in the set.
func (s *Set) Has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// Union adds the lists of o.
func (s *Set) Union(o *Set) {
	for i := range s {
		s[i] |= o[i]
	}
}

// Intersects reports whether the two sets share a list.
func (s *Set) Intersects(o *Set) bool {
	return s[0]&o[0]|s[1]&o[1]|s[2]&o[2]|s[3]&o[3] != 0
}
