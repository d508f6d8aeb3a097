package privacy

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Suffix is how the name of a key's file ends. Before it stands the key's id.
const Suffix = ".key"

// skew is how far in the future the beginning of a key may be. A key from further
// ahead was made by a clock that was wrong, and would live too long.
const skew = time.Hour

// Key is a key of pseudonyms.
type Key struct {
	// ID is the key's name in pseudonyms, eight hexadecimal digits that the key
	// determines. Begun is when the key came into use.
	ID     string
	Begun  time.Time
	secret [sha256.Size]byte
}

// String is the key's id; the key itself is never printed.
func (k *Key) String() string { return k.ID }

// GoString is String, for %#v.
func (k *Key) GoString() string { return k.ID }

// idOf returns the id of a key. It tells nothing about the key, and a key that was
// damaged does not have it.
func idOf(secret []byte) string {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte("the id of a key of pseudonyms"))
	return hex.EncodeToString(m.Sum(nil)[:idOctets])
}

// KeyOptions say how long keys live.
type KeyOptions struct {
	// Dir is the folder of the keys, which nobody else may read.
	Dir string
	// Rotate is how long a key makes pseudonyms. Keep is how long it can find
	// addresses after that; then its file is removed.
	Rotate, Keep time.Duration
	// Now is the time; nil: the system's.
	Now func() time.Time
}

// Keys are the keys of a folder, one of which makes pseudonyms. It is safe for
// concurrent use.
type Keys struct {
	o       KeyOptions
	current atomic.Pointer[Key]

	mu  sync.Mutex
	all []*Key // guarded by mu: oldest first
}

// Open reads the keys of a folder. It makes the folder and a key if there is none
// in use, and removes keys that were kept long enough.
func Open(o KeyOptions) (*Keys, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	all, err := Load(o.Dir)
	if err != nil {
		return nil, err
	}
	k := &Keys{o: o, all: all}
	if _, err := k.Renew(); err != nil {
		return nil, err
	}
	return k, nil
}

// Load reads the keys of a folder, oldest first. Nothing is changed.
func Load(dir string) ([]*Key, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []*Key
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), Suffix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		k, ok := parse(string(text))
		if !ok || k.ID+Suffix != e.Name() {
			return nil, fmt.Errorf("%s is not a key of pseudonyms, or is damaged; restore it, or move it out of the folder", path)
		}
		all = append(all, k)
	}
	slices.SortStableFunc(all, func(a, b *Key) int { return a.Begun.Compare(b.Begun) })
	return all, nil
}

// parse reads the text of a key: its id, its beginning and the key in hexadecimal.
func parse(text string) (*Key, bool) {
	f := strings.Fields(text)
	if len(f) != 4 || f[0] != "p1" {
		return nil, false
	}
	begun, err := time.Parse(time.RFC3339, f[2])
	secret, bad := hex.DecodeString(f[3])
	if err != nil || bad != nil || len(secret) != sha256.Size || idOf(secret) != f[1] {
		return nil, false
	}
	return &Key{ID: f[1], Begun: begun, secret: [sha256.Size]byte(secret)}, true
}

// Current returns the key that makes pseudonyms.
func (k *Keys) Current() *Key { return k.current.Load() }

// Renew makes a new key if the life of the current one is over, and removes keys
// that were kept long enough. It returns when to call it again. If it fails, the
// current key stays in use.
func (k *Keys) Renew() (next time.Time, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.o.Now()
	var newest *Key
	for _, c := range k.all {
		if c.Begun.Before(now.Add(skew)) && now.Before(c.Begun.Add(k.o.Rotate)) {
			newest = c
		}
	}
	if newest == nil {
		if newest, err = k.make(now); err != nil && k.Current() == nil {
			return now, err
		} else if err != nil {
			return now.Add(time.Minute), fmt.Errorf("no new key of pseudonyms could be made, so the one before stays in use: %w", err)
		}
	}
	k.current.Store(newest)
	next = newest.Begun.Add(k.o.Rotate)
	var problems []error
	k.all = slices.DeleteFunc(k.all, func(c *Key) bool {
		end := c.Begun.Add(k.o.Rotate + k.o.Keep)
		if c == newest || now.Before(end) {
			if c != newest && end.Before(next) {
				next = end
			}
			return false
		}
		if err := os.Remove(filepath.Join(k.o.Dir, c.ID+Suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
			problems = append(problems, fmt.Errorf("a key of pseudonyms that was kept long enough could not be removed: %w", err))
			next = now.Add(time.Minute)
			return false
		}
		return true
	})
	return next, errors.Join(problems...)
}

// make makes a key, and its file. A file is complete before it has its name.
func (k *Keys) make(now time.Time) (*Key, error) {
	c := &Key{Begun: now.UTC().Truncate(time.Second)}
	rand.Read(c.secret[:])
	c.ID = idOf(c.secret[:])
	f, err := os.CreateTemp(k.o.Dir, ".new-*") // of mode 0600
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(f, "p1 %s %s %x\n", c.ID, c.Begun.Format(time.RFC3339), c.secret)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(k.o.Dir, c.ID+Suffix))
	}
	if err != nil {
		os.Remove(f.Name())
		return nil, err
	}
	k.all = append(k.all, c)
	return c, nil
}
