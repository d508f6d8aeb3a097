package wire

import (
	"bytes"
	"cmp"
	"testing"
)

// lower gives the same as the plain rule, at all lengths and for all octets.
func TestLower(t *testing.T) {
	for n := range 40 {
		for c := range 256 {
			src := bytes.Repeat([]byte{byte(c)}, n)
			if n > 0 {
				src[n/2] = byte(c + 1)
			}
			want := bytes.Clone(src)
			for i, b := range want {
				if b >= 'A' && b <= 'Z' {
					want[i] += 'a' - 'A'
				}
			}
			got := make([]byte, n)
			lower(got, src)
			if !bytes.Equal(got, want) {
				t.Fatalf("%x became %x", src, got)
			}
		}
	}
}

// Names without escapes are parsed by other code than names with escapes. Both
// give the same octets and the same errors.
func TestPlainNames(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 63)
	longest := bytes.Join([][]byte{long, long, long, long[:61]}, []byte("."))
	for _, text := range []string{"a", "a.", "A.b.C", ".", "..", "a..b", ".a", "a..", string(long), string(long) + "x.b",
		string(longest), string(longest) + ".", string(longest) + "y", string(longest) + ".y", "a.b.c.d.e.f.g.h.i.j", "\x00\xff.\x80A"} {
		got, err := AppendName([]byte("head"), []byte(text))
		// The same name with its first octet escaped.
		other := []byte(text)
		if text[0] != '.' {
			other = append([]byte("\\"), other...)
			if text[0] < '0' || text[0] > '9' {
				want, wantErr := AppendName([]byte("head"), other)
				if !bytes.Equal(got, want) || (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
					t.Errorf("%q: %x, %v; escaped %x, %v", text, got, err, want, wantErr)
				}
			}
		}
	}
}

// TestCompare checks the order of RFC 4034 section 6.1.
func TestCompare(t *testing.T) {
	texts := []string{"example", "a.example", "yljkjljk.a.example", "Z.a.example", "zABC.a.EXAMPLE", "z.example", "\\001.z.example", "*.z.example", "\\200.z.example"}
	names := make([]Name, len(texts))
	for i, text := range texts {
		if err := names[i].SetText(text); err != nil {
			t.Fatal(text, err)
		}
	}
	for i := range names {
		for j := range names {
			if got := names[i].Compare(&names[j]); cmp.Compare(got, 0) != cmp.Compare(i, j) {
				t.Errorf("%s with %s: %d", texts[i], texts[j], got)
			}
		}
	}
}
