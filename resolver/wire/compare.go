package wire

// SameName reports whether the names at offsets a and b are equal in any letter
// case. It follows pointers.
func SameName(m []byte, a, b int) bool {
	for range MaxName {
		a, b = follow(m, a), follow(m, b)
		if a == b {
			return a >= 0
		}
		if a < 0 || b < 0 || m[a] != m[b] {
			return false
		}
		n := int(m[a])
		if n == 0 {
			return true
		}
		if a+1+n > len(m) || b+1+n > len(m) || !EqualFold(m[a+1:a+1+n], m[b+1:b+1+n]) {
			return false
		}
		a, b = a+1+n, b+1+n
	}
	return false
}

// Parent returns the offset of the name without its first label: -1 if the name
// at off is the root or cannot be read. It follows pointers.
func Parent(m []byte, off int) int {
	off = follow(m, off)
	if off < 0 || m[off] == 0 {
		return -1
	}
	return off + 1 + int(m[off])
}

// follow returns the offset of the label at off, or of the label to which
// pointers there lead; -1 if there is none.
func follow(m []byte, off int) int {
	for range MaxName {
		if uint(off) >= uint(len(m)) {
			return -1
		}
		if m[off] < 0xC0 {
			return off
		}
		if off+2 > len(m) {
			return -1
		}
		off = int(m[off]&0x3F)<<8 | int(m[off+1])
	}
	return -1
}
