package suffix

import (
	"bytes"
	"errors"
	"math/bits"
	"testing"
)

// TestHash checks what a look-up relies on: the hash is that of the octets
// and of nothing else, and no octets of a name cancel the effect of the others,
// whatever the key.
func TestHash(t *testing.T) {
	k := newKey()
	seen := map[uint64][]byte{}
	for n := 2; n < 255; n++ {
		for i := -1; i < n; i++ {
			path := bytes.Repeat([]byte{0xDB}, n)
			if i >= 0 {
				path[i] ^= 1
			}
			h := k.sum(path)
			if h != k.sum(bytes.Clone(path)) {
				t.Fatalf("%x: two hashes", path)
			}
			if other, ok := seen[h]; ok {
				t.Errorf("%x and %x: one hash", path, other)
			}
			seen[h] = path
		}
	}
	other := newKey()
	if path := []byte("\x03www\x07example"); k.sum(path) == other.sum(path) {
		t.Error("two keys make one hash")
	}
}

// TestTags compares the match of all tags at once with one by one.
func TestTags(t *testing.T) {
	tags := make([]uint8, slots)
	for n := range slots + 1 {
		for i := range n {
			for _, near := range []uint8{1, 2, 127, 128, 129, 253, 254} {
				var b bucket
				for j := range n {
					tags[j] = near
					if j%3 == i%3 {
						tags[j] = near ^ 1
					}
					if tags[j] == 0 || tags[j] == 255 {
						tags[j] = 7
					}
					b.setTag(j, tags[j])
				}
				if b.used() != n || b.plain() {
					t.Fatalf("%d tags in use, want %d", b.used(), n)
				}
				lo, hi := b.match(near)
				for j := range slots {
					marked := lo>>(8*j+7)&1 != 0
					if j >= 8 {
						marked = hi>>(8*(j-8)+7)&1 != 0
					}
					if marked != (j < n && tags[j] == near) {
						t.Fatalf("%v of %d, tag %d: slot %d is marked: %v", tags, n, near, j, marked)
					}
				}
				if bits.OnesCount64(lo&^0x8080808080808080)+bits.OnesCount32(hi&^0x80808080) != 0 {
					t.Fatal("marks beside the octets' high bits")
				}
			}
		}
	}
}

// More than can be addressed is refused while it is added.
func TestFull(t *testing.T) {
	b := Builder{octets: maxOctets - 20}
	if err := b.Add([]byte("\x07example\x00"), 1); err != nil {
		t.Error(err)
	}
	if err := b.Add([]byte("\x07example\x00"), 1); !errors.Is(err, ErrFull) {
		t.Errorf("%v", err)
	}
}
