package blocklists

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"rideau/blocklists/format"
)

// Part is one file of a list that consists of several.
type Part struct {
	Name string // for messages, such as a path
	Open func() (io.ReadCloser, error)
}

// Files are the files that the list consists of: one, unless Parts says otherwise.
func (l *List) Files() ([]Part, error) {
	if l.Parts == nil {
		return []Part{{l.Source, l.Open}}, nil
	}
	return l.Parts()
}

// options are what decides, beside the content, how many entries there are.
func (l *List) options() string { return fmt.Sprint(l.Source, " ", l.Format, " ", l.Tiers) }

// Options tells whether the numbers of two versions of a list compare: they do if it is the same.
func (i *ListInfo) Options() string { return i.options }

// baseline is what the list was in the Snapshot, which may be nil, or else what its guards know.
func (s *Snapshot) baseline(l *List) Baseline {
	if s != nil {
		for i := range s.lists {
			if old := &s.lists[i]; old.ID == l.ID && old.options == l.options() {
				return Baseline{old.options, old.Entries, old.Serial}
			}
		}
	}
	if b := l.Guards.Before; b.Options == l.options() {
		return b
	}
	return Baseline{}
}

// Confirmed is the Snapshot, with its lists read and found unchanged at that instant.
func (s *Snapshot) Confirmed(now time.Time) *Snapshot {
	n := *s
	n.lists = slices.Clone(s.lists)
	for i := range n.lists {
		n.lists[i].LoadedAt = now
	}
	return &n
}

// scan reads the list, one file after the other, as [format.Read] reads one, and holds each entry to the list's guards. The digest is
// that of [Digest].
func (l *List) scan(o format.Options, add func(format.Entry) error) (stats format.Stats, digest [sha256.Size]byte, err error) {
	parts, err := l.Files()
	if err != nil {
		return stats, digest, err
	}
	g := gate{list: l}
	var d Digest
	for _, p := range parts {
		o.File = p.Name
		one, err := g.scan(p, o, &d, add)
		stats.Lines += one.Lines
		stats.Entries += one.Entries
		stats.Skipped += one.Skipped
		stats.OtherTier += one.OtherTier
		stats.Problems = append(stats.Problems, one.Problems[:min(len(one.Problems), format.MaxProblems-len(stats.Problems))]...)
		if err != nil {
			return stats, digest, err
		}
	}
	g.report(&stats)
	digest = d.Sum(l.Parts != nil)
	if err = g.tooManyProtected(stats.Entries); err == nil {
		err = l.Guards.pinned(l, digest)
	}
	return stats, digest, err
}

// scan reads one file.
func (g *gate) scan(p Part, o format.Options, d *Digest, add func(format.Entry) error) (format.Stats, error) {
	f, err := p.Open()
	if err != nil {
		return format.Stats{}, err
	}
	defer f.Close()
	passed := 0
	stats, err := format.Read(io.TeeReader(f, d.Begin(p)), o, func(e format.Entry) error {
		if ok, err := g.admits(o.File, &e); !ok || err != nil {
			return err
		}
		passed++
		return add(e)
	})
	stats.Entries = passed
	return stats, err
}

// Digest makes the digest of a list: of a list that is one file, the SHA-256 of its octets; of one that is a folder, the SHA-256
// of what the program sha256sum would print for its files in their order.
type Digest struct {
	files []Part
	sums  []hash.Hash
}

// Begin begins a file. What it returns takes the octets.
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

// ReadDigest reads the list and makes its digest, without a look at what it says.
func (l *List) ReadDigest() (out [sha256.Size]byte, err error) {
	parts, err := l.Files()
	if err != nil {
		return out, err
	}
	var d Digest
	for _, p := range parts {
		if err := d.read(p); err != nil {
			return out, err
		}
	}
	return d.Sum(l.Parts != nil), nil
}

func (d *Digest) read(p Part) error {
	f, err := p.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(d.Begin(p), f)
	return err
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
