package fetch

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// tempPattern names files that are not whole yet, or not yet judged.
const tempPattern = "download-*.tmp"

// Store holds the last good copy of each list in a folder: ID.json with the [Facts], and the content in ID.DIGEST.list, which the facts
// name. Each is written beside and renamed into place, the facts last, so that a crash or a full disk leaves the old copy whole. It is
// safe for concurrent use, also by several processes: of two that commit the same list the later one stays.
type Store struct{ dir string }

// Facts are what is known of a last good copy.
type Facts struct {
	// Origin is what the copy was made from and checked by; a caller with another one does not want the copy.
	Origin string `json:"origin"`
	// Options and Entries are of the list that was read from it.
	Options string `json:"options"`
	Entries int    `json:"entries"`
	Serial  Serial `json:"serial"`
	// ETag and LastModified are the validators that came with it.
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	// SHA256 is the digest of the copy, in hex, and Digest that of the list, which is another one if the list is a folder.
	SHA256 string `json:"sha256"`
	Digest string `json:"digest"`
	// Parts are the files that the copy holds, one after the other, if there are several: those of a folder, then those that are
	// included, whose names as they are written are in Included.
	Parts    []PartFacts `json:"parts,omitempty"`
	Included []string    `json:"included,omitempty"`
	// Fetched is when it was last known to be what the source has, Accepted when it was found good.
	Fetched  time.Time `json:"fetched"`
	Accepted time.Time `json:"accepted"`
}

// PartFacts are a file of a folder.
type PartFacts struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// Errors of a Store.
var (
	// ErrNoCopy is that there is none.
	ErrNoCopy = errors.New("there is no last good copy")
	// ErrCorrupt is a copy that is not what it was when it was written.
	ErrCorrupt = errors.New("the last good copy is damaged")
)

// OpenStore makes the folder if there is none. With write it makes sure that files can be written there, and removes what a process that
// died left behind.
func OpenStore(dir string, write bool) (*Store, error) {
	s := &Store{dir}
	if !write {
		return s, nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("state.dir: %w; make the folder, and let the user that rideau runs as write there", err)
	}
	f, err := os.CreateTemp(dir, tempPattern)
	if err != nil {
		return nil, fmt.Errorf("state.dir: %w; let the user that rideau runs as write there, or set state.dir to a folder where it can", err)
	}
	f.Close()
	os.Remove(f.Name())
	s.sweep()
	return s, nil
}

// sweep removes downloads that nobody will finish. Another process may be at work, so that it leaves young ones.
func (s *Store) sweep() {
	old, err := filepath.Glob(filepath.Join(s.dir, tempPattern))
	if err != nil {
		return
	}
	for _, p := range old {
		if info, err := os.Stat(p); err == nil && time.Since(info.ModTime()) > time.Hour {
			os.Remove(p)
		}
	}
}

// Dir is the folder.
func (s *Store) Dir() string { return s.dir }

func (s *Store) factsPath(id string) string { return filepath.Join(s.dir, id+".json") }

func (s *Store) dataPath(id, digest string) string {
	return filepath.Join(s.dir, id+"."+digest[:16]+".list")
}

// Facts are those of a list's copy. The error is ErrNoCopy or ErrCorrupt, or that of the system.
func (s *Store) Facts(id string) (Facts, error) {
	text, err := os.ReadFile(s.factsPath(id))
	if errors.Is(err, fs.ErrNotExist) {
		return Facts{}, ErrNoCopy
	}
	if err != nil {
		return Facts{}, err
	}
	var f Facts
	if err := json.Unmarshal(text, &f); err != nil || !isDigest(f.SHA256) || !isDigest(f.Digest) {
		return Facts{}, fmt.Errorf("%w: %s says nothing of use; remove it", ErrCorrupt, s.factsPath(id))
	}
	return f, nil
}

func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size
}

// Open opens the copy that the facts are of, having made sure that it is what was written. The caller closes it.
func (s *Store) Open(id string, f Facts) (*os.File, error) {
	path := s.dataPath(id, f.SHA256)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing; fetch the list again", ErrCorrupt, path)
	}
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	if _, err = io.Copy(sum, file); err == nil && hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
		err = fmt.Errorf("%w: %s is not what was written; fetch the list again", ErrCorrupt, path)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// Commit makes a download the last good copy: it renames file, which lies in the store's folder and is on disk.
func (s *Store) Commit(id, file string, f Facts) error {
	if err := os.Rename(file, s.dataPath(id, f.SHA256)); err != nil {
		return err
	}
	return s.Note(id, f)
}

// Note writes the facts of a copy that is there, and removes copies that it replaces.
func (s *Store) Note(id string, f Facts) error {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := s.write(bytes.NewReader(append(text, '\n')), s.factsPath(id)); err != nil {
		return err
	}
	all, err := filepath.Glob(filepath.Join(s.dir, id+".*.list"))
	for _, p := range all {
		if p != s.dataPath(id, f.SHA256) {
			os.Remove(p) // one that is still read stays readable
		}
	}
	return err
}

// Source is a file to be kept.
type Source struct {
	Name string
	Open func() (io.ReadCloser, error)
}

// ErrChanged is a source that became another one meanwhile.
var ErrChanged = errors.New("the source changed while it was copied")

// Keep copies files into the store as the last good copy of a list, one after the other. digest makes the list's digest of those of its
// files; if it is not f.Digest the copy is given up with ErrChanged.
func (s *Store) Keep(id string, sources []Source, f Facts, folder bool, digest func(sums [][sha256.Size]byte) string) error {
	temp, err := os.CreateTemp(s.dir, tempPattern)
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // of no effect once it is renamed
	whole := sha256.New()
	var sums [][sha256.Size]byte
	f.Parts = nil
	for _, src := range sources {
		sum, n, err := copyFile(io.MultiWriter(temp, whole), src)
		if err != nil {
			temp.Close()
			return err
		}
		sums = append(sums, sum)
		if folder {
			f.Parts = append(f.Parts, PartFacts{src.Name, n})
		}
	}
	err = temp.Sync()
	if e := temp.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if digest(sums) != f.Digest {
		return ErrChanged
	}
	f.SHA256 = hex.EncodeToString(whole.Sum(nil))
	return s.Commit(id, temp.Name(), f)
}

func copyFile(w io.Writer, src Source) (out [sha256.Size]byte, n int64, err error) {
	r, err := src.Open()
	if err != nil {
		return out, 0, err
	}
	defer r.Close()
	sum := sha256.New()
	n, err = io.Copy(io.MultiWriter(w, sum), r)
	sum.Sum(out[:0])
	return out, n, err
}

// Remove forgets a list.
func (s *Store) Remove(id string) {
	os.Remove(s.factsPath(id))
	all, _ := filepath.Glob(filepath.Join(s.dir, id+".*.list"))
	for _, p := range all {
		os.Remove(p)
	}
}

// write writes a file beside and renames it into place.
func (s *Store) write(r io.Reader, path string) error {
	f, err := os.CreateTemp(s.dir, tempPattern)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	s.syncDir()
	return nil
}

// syncDir makes renames last. Systems that cannot do that with a folder do without.
func (s *Store) syncDir() {
	if d, err := os.Open(s.dir); err == nil {
		_ = d.Sync()
		d.Close()
	}
}
