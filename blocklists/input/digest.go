package input

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"slices"

	"rideau/blocklists/entry"
)

// Digest computes the digest of a list. For a list that is one file it is the SHA-256 of its octets; for one that is a folder or includes files, the
// SHA-256 of what the program sha256sum would print for its files in their order. The zero Digest is ready for use.
type Digest struct {
	files []Part
	sums  []hash.Hash
}

// Begin begins the next file. The caller writes the file's octets to what it returns.
func (d *Digest) Begin(p Part) io.Writer {
	d.files, d.sums = append(d.files, p), append(d.sums, sha256.New())
	return d.sums[len(d.sums)-1]
}

// Sum is the digest of all files.
func (d *Digest) Sum(folder bool) [sha256.Size]byte {
	sums := make([][sha256.Size]byte, len(d.sums))
	for i, s := range d.sums {
		s.Sum(sums[i][:0])
	}
	return DigestOf(d.files, sums, folder)
}

// DigestOf is the digest of a list whose files have these SHA-256.
func DigestOf(files []Part, sums [][sha256.Size]byte, folder bool) [sha256.Size]byte {
	if !folder && len(sums) == 1 {
		return sums[0]
	}
	all := sha256.New()
	for i, sum := range sums {
		fmt.Fprintf(all, "%x  %s\n", sum, files[i].Name)
	}
	return [sha256.Size]byte(all.Sum(nil))
}

// ReadDigest reads the list, and the files that it is known to include, and returns its digest. It does not parse the content.
func (l *List) ReadDigest(included []string) (out [sha256.Size]byte, err error) {
	parts, err := l.AllFiles(included)
	if err != nil {
		return out, err
	}
	var d Digest
	for _, p := range parts {
		if err := d.readFile(p); err != nil {
			return out, err
		}
	}
	return d.Sum(l.Parts != nil), nil
}

func (d *Digest) readFile(p Part) error {
	f, err := p.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(d.Begin(p), f)
	return err
}

// Sum is a digest of entries that is the same in whatever order they are, and in whatever file and line: the sum of the SHA-256 of each. The
// zero Sum is that of no entries.
type Sum [4]uint64

// add adds an entry. scratch is memory to use, which add returns.
func (s *Sum) add(e *entry.Entry, scratch []byte) []byte {
	b := append(scratch[:0], byte(e.Match), byte(len(e.Name)))
	b = append(b, e.Name...)
	if e.Name == nil {
		b = e.Prefix.AppendTo(b)
	}
	if r := e.Rule; r != nil {
		b = fmt.Appendf(b, " %d %d %t %t %t %d %t %d %d %d ", r.Trigger, r.Action, r.Except, r.Important, r.Cancel, r.Spelling, r.NotTypes, r.Type, r.TTL, r.Types)
		b = append(b, r.Data...)
	}
	sum := sha256.Sum256(b)
	for i := range s {
		s[i] += binary.BigEndian.Uint64(sum[8*i:])
	}
	return b
}

// Names returns the names of the set in order.
func (p *Protected) Names() []string {
	var out []string
	for _, name := range p.names {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
