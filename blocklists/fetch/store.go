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
	"slices"
	"time"
)

// tempPattern matches the names of files that are not complete, or that no policy was made of yet.
const tempPattern = "download-*.tmp"

// Store holds the last good copy of each list in a folder: ID.json with the [Facts], and ID.DIGEST.list, which the facts name, with the
// content. Each is written to another file first and renamed, the facts last: a crash or a full disk leaves the old copy complete. It is
// safe for concurrent use, also by several processes: if two commit the same list the later one stays.
type Store struct{ dir string }

// Facts describe a last good copy.
type Facts struct {
	// Origin says where the copy came from and what vouched for it. A caller with another origin does not use the copy.
	Origin string `json:"origin"`
	// Options, Entries, Wide and Format describe the list that was read from the copy.
	Options string `json:"options"`
	Entries int    `json:"entries"`
	Wide    int    `json:"wide,omitempty"`
	Format  string `json:"format,omitempty"`
	Serial  Serial `json:"serial"`
	// ETag and LastModified are the validators that came with it.
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	// SHA256 is the digest of the copy, in hex, and Digest that of the list. They differ if the list is a folder.
	SHA256 string `json:"sha256"`
	Digest string `json:"digest"`
	// Signature is the minisign signature of the copy, or of its first part, as it came with it; empty if none vouched for it.
	Signature string `json:"signature,omitempty"`
	// Parts are the files that the copy holds, one after the other, if there are several: those of a folder, then those that the list
	// includes. Included has the names of the latter as the list writes them.
	Parts    []PartFacts `json:"parts,omitempty"`
	Included []string    `json:"included,omitempty"`
	// Fetched is when the source was last known to have this content, Accepted when a policy was first made of it.
	Fetched  time.Time `json:"fetched"`
	Accepted time.Time `json:"accepted"`
}

// PartFacts describe one file of a copy.
type PartFacts struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// Errors of a Store.
var (
	// ErrNoCopy says that there is no copy.
	ErrNoCopy = errors.New("there is no last good copy")
	// ErrCorrupt says that the copy is not what was written.
	ErrCorrupt = errors.New("the last good copy is damaged")
)

// NewStore returns the store in a folder, which need not exist yet.
func NewStore(dir string) *Store { return &Store{dir} }

// EnsureWritable makes the folder if it does not exist, and returns an error if no file can be written there.
func (s *Store) EnsureWritable() error {
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return fmt.Errorf("state.dir: %w; make the folder, and let the user that rideau runs as write there", err)
	}
	f, err := os.CreateTemp(s.dir, tempPattern)
	if err != nil {
		return fmt.Errorf("state.dir: %w; let the user that rideau runs as write there, or set state.dir to a folder where it can", err)
	}
	f.Close()
	os.Remove(f.Name())
	return nil
}

// Sweep removes downloads that a process left behind when it died, but none of keep. It also leaves those younger than an hour, since
// another process may be writing them.
func (s *Store) Sweep(keep []string) {
	temp, err := filepath.Glob(filepath.Join(s.dir, tempPattern))
	if err != nil {
		return
	}
	for _, p := range temp {
		if info, err := os.Stat(p); err == nil && time.Since(info.ModTime()) > time.Hour && !slices.Contains(keep, p) {
			os.Remove(p)
		}
	}
}

// Dir returns the folder.
func (s *Store) Dir() string { return s.dir }

func (s *Store) factsPath(id string) string { return filepath.Join(s.dir, id+".json") }

func (s *Store) dataPath(id, digest string) string {
	return filepath.Join(s.dir, id+"."+digest[:16]+".list")
}

// Facts returns the facts of a list's copy. The error is ErrNoCopy, ErrCorrupt, or one of the system.
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

// Open verifies the digest of the copy that the facts describe, and opens it. The caller closes it.
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

// Commit makes a download the last good copy. It renames file, which is in the store's folder and synced to disk.
func (s *Store) Commit(id, file string, f Facts) error {
	if err := os.Rename(file, s.dataPath(id, f.SHA256)); err != nil {
		return err
	}
	return s.Note(id, f)
}

// Note writes the facts of a copy whose content is there, and removes the list's other copies.
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
			os.Remove(p) // who has it open can read on
		}
	}
	return err
}

// Source is a file to copy.
type Source struct {
	Name string
	Open func() (io.ReadCloser, error)
}

// ErrChanged says that a source changed after it was read.
var ErrChanged = errors.New("the source changed while it was copied")

// Keep copies files into the store, one after the other, as the last good copy of a list. digest makes the list's digest from those of
// its files. If that is not f.Digest, Keep returns ErrChanged and the old copy stays.
func (s *Store) Keep(id string, sources []Source, f Facts, folder bool, digest func(sums [][sha256.Size]byte) string) error {
	temp, err := os.CreateTemp(s.dir, tempPattern)
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // no effect after the rename
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

// Remove removes the copy of a list.
func (s *Store) Remove(id string) {
	os.Remove(s.factsPath(id))
	all, _ := filepath.Glob(filepath.Join(s.dir, id+".*.list"))
	for _, p := range all {
		os.Remove(p)
	}
}

// write writes a temporary file and renames it to path.
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

// syncDir makes renames survive a crash, on systems that can sync a folder.
func (s *Store) syncDir() {
	if d, err := os.Open(s.dir); err == nil {
		_ = d.Sync()
		d.Close()
	}
}
