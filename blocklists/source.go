package blocklists

import (
	"crypto/sha256"
	"errors"
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

// scan reads the list, one file after the other, as [format.Read] reads one, and holds each entry to the list's guards. It fills in
// what info tells of the content.
func (l *List) scan(info *ListInfo, o format.Options, add func(format.Entry) error) (stats format.Stats, err error) {
	parts, err := l.Files()
	if err != nil {
		return stats, err
	}
	g := gate{list: l}
	if l.Include != nil {
		o.Include = func(name string) (io.ReadCloser, error) { return g.include(info, name) }
	}
	for _, p := range parts {
		o.File = p.Name
		one, err := g.scan(p, o, add)
		stats = joined(stats, one)
		if err != nil {
			return stats, err
		}
	}
	g.report(&stats)
	info.SHA256 = g.digest.Sum(l.Parts != nil)
	info.Serial = l.Guards.Serial
	if info.Serial.Kind == "" && stats.HasSerial && len(parts) == 1 {
		info.Serial = Serial{Kind: listSerial, Value: stats.Serial}
		if stats.Format == format.RPZ {
			info.Serial.Kind = SOASerial
		}
	}
	if err = g.tooManyProtected(stats.Entries); err == nil {
		err = l.Guards.pinned(l, info.SHA256)
	}
	return stats, err
}

// listSerial is the Kind of the serials that comments of lists tell.
const listSerial = "list"

// joined are the stats of two files together.
func joined(a, b format.Stats) format.Stats {
	if a.Lines == 0 && a.Entries == 0 {
		return b
	}
	b.Lines += a.Lines
	b.Entries += a.Entries
	b.Skipped += a.Skipped
	b.NotDNS += a.NotDNS
	b.OtherTier += a.OtherTier
	b.Problems = append(a.Problems, b.Problems[:min(len(b.Problems), format.MaxProblems-len(a.Problems))]...)
	reasons := slices.Clone(a.Reasons)
	for _, r := range b.Reasons {
		if i := slices.IndexFunc(reasons, func(x format.Reason) bool { return x.Reason == r.Reason && x.NotDNS == r.NotDNS }); i >= 0 {
			reasons[i].Lines += r.Lines
			continue
		}
		reasons = append(reasons, r)
	}
	slices.SortStableFunc(reasons, func(x, y format.Reason) int { return y.Lines - x.Lines })
	b.Reasons = reasons
	return b
}

// scan reads one file.
func (g *gate) scan(p Part, o format.Options, add func(format.Entry) error) (format.Stats, error) {
	f, err := p.Open()
	if err != nil {
		return format.Stats{}, err
	}
	defer f.Close()
	passed := 0
	// What the format does not read, such as what follows a compressed file, counts for the digest all the same.
	all := io.TeeReader(f, g.digest.Begin(p))
	stats, err := format.Read(all, o, func(e format.Entry) error {
		if ok, err := g.admits(o.File, &e); !ok || err != nil {
			return err
		}
		passed++
		return add(e)
	})
	stats.Entries = passed
	if err == nil {
		_, err = io.Copy(io.Discard, all)
	}
	return stats, err
}

// include opens a file that a zone includes, and counts it as part of the list.
func (g *gate) include(info *ListInfo, name string) (io.ReadCloser, error) {
	p, err := g.list.Include(name)
	if err != nil {
		return nil, err
	}
	f, err := p.Open()
	if err != nil {
		return nil, err
	}
	info.Included = append(info.Included, name)
	return &included{io.TeeReader(f, g.digest.Begin(p)), f}, nil
}

// included reads a file to its end before it is closed, for the digest.
type included struct {
	io.Reader
	file io.Closer
}

func (i *included) Close() error {
	_, err := io.Copy(io.Discard, i.Reader)
	return errors.Join(err, i.file.Close())
}

// Digest makes the digest of a list: of a list that is one file, the SHA-256 of its octets; of one that is a folder or includes files, the
// SHA-256 of what the program sha256sum would print for its files in their order.
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

// ReadDigest reads the list, and the files that it is known to include, and makes its digest, without a look at what it says.
func (l *List) ReadDigest(included []string) (out [sha256.Size]byte, err error) {
	parts, err := l.AllFiles(included)
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

// AllFiles are the files of the list, and after them those that it is known to include.
func (l *List) AllFiles(included []string) ([]Part, error) {
	parts, err := l.Files()
	for _, name := range included {
		if err != nil || l.Include == nil {
			break
		}
		var p Part
		p, err = l.Include(name)
		parts = append(parts, p)
	}
	return parts, err
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
