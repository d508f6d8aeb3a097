package fetch_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"

	"rideau/blocklists/fetch"
)

func openStore(t *testing.T) *fetch.Store {
	t.Helper()
	s := fetch.NewStore(filepath.Join(t.TempDir(), "a", "state"))
	if err := s.EnsureWritable(); err != nil {
		t.Fatal(err)
	}
	return s
}

func source(name, text string) fetch.Source {
	return fetch.Source{Name: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
}

func first(sums [][sha256.Size]byte) string { return hex.EncodeToString(sums[0][:]) }

func keep(t *testing.T, s *fetch.Store, id, text string) fetch.Facts {
	t.Helper()
	sum := sha256.Sum256([]byte(text))
	f := fetch.Facts{Origin: "o", Digest: hex.EncodeToString(sum[:]), Entries: 2, Serial: fetch.Serial{Kind: "serial", Value: 7}, Fetched: time.Now().UTC().Truncate(time.Second)}
	if err := s.Keep(id, []fetch.Source{source("x", text)}, f, false, first); err != nil {
		t.Fatal(err)
	}
	f, err := s.Facts(id)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func copyOf(t *testing.T, s *fetch.Store, id string) (string, error) {
	t.Helper()
	f, err := s.Facts(id)
	if err != nil {
		return "", err
	}
	r, err := s.Open(id, f)
	if err != nil {
		return "", err
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), nil
}

func TestStore(t *testing.T) {
	s := openStore(t)
	if _, err := copyOf(t, s, "a"); !errors.Is(err, fetch.ErrNoCopy) {
		t.Error(err)
	}
	f := keep(t, s, "a", content)
	if f.Origin != "o" || f.Entries != 2 || f.Serial.Value != 7 || f.SHA256 != f.Digest || f.Fetched.IsZero() {
		t.Errorf("%+v", f)
	}
	keep(t, s, "a-b", "other")
	keep(t, s, "a", "second")
	for id, want := range map[string]string{"a": "second", "a-b": "other"} {
		if got, err := copyOf(t, s, id); got != want || err != nil {
			t.Errorf("%s: %q, %v", id, got, err)
		}
	}
	files, _ := filepath.Glob(filepath.Join(s.Dir(), "*"))
	if len(files) != 4 {
		t.Errorf("files %q", files)
	}
	// The later store sees what the earlier one kept.
	again := fetch.NewStore(s.Dir())
	if got, err := copyOf(t, again, "a"); got != "second" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	s.Remove("a")
	if _, err := copyOf(t, s, "a"); !errors.Is(err, fetch.ErrNoCopy) {
		t.Error(err)
	}
}

// TestDamaged: Open refuses a copy that is not what was written, whatever happened to it.
func TestDamaged(t *testing.T) {
	for name, damage := range map[string]func(data, facts string) error{
		"octet":     func(data, _ string) error { return os.WriteFile(data, []byte("A.example\nb.example\n"), 0o666) },
		"cut":       func(data, _ string) error { return os.Truncate(data, 5) },
		"gone":      func(data, _ string) error { return os.Remove(data) },
		"facts cut": func(_, facts string) error { return os.Truncate(facts, 40) },
		"no facts":  func(_, facts string) error { return os.WriteFile(facts, []byte("{}"), 0o666) },
		"odd facts": func(_, facts string) error {
			return os.WriteFile(facts, []byte(`{"sha256": "../../../etc/passwd", "digest": "x"}`), 0o666)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t)
			f := keep(t, s, "a", content)
			if err := damage(filepath.Join(s.Dir(), "a."+f.SHA256[:16]+".list"), filepath.Join(s.Dir(), "a.json")); err != nil {
				t.Fatal(err)
			}
			got, err := copyOf(t, s, "a")
			if !errors.Is(err, fetch.ErrCorrupt) || got != "" || !strings.Contains(err.Error(), ";") {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// TestKeepFails: if a copy cannot be made, the old one stays.
func TestKeepFails(t *testing.T) {
	s := openStore(t)
	old := keep(t, s, "a", content)
	broken := fetch.Source{Name: "x", Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("half"), brokenReader{})), nil
	}}
	if err := s.Keep("a", []fetch.Source{broken}, old, false, first); err == nil {
		t.Error("kept half of a file")
	}
	if err := s.Keep("a", []fetch.Source{source("x", "what came between")}, old, false, first); !errors.Is(err, fetch.ErrChanged) {
		t.Error(err)
	}
	if got, err := copyOf(t, s, "a"); got != content || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if temp, _ := filepath.Glob(filepath.Join(s.Dir(), "*.tmp")); len(temp) > 0 {
		t.Errorf("left %q", temp)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

// TestKeepFolder: the copy has the files of a folder one after the other, and the facts have their sizes.
func TestKeepFolder(t *testing.T) {
	s := openStore(t)
	f := fetch.Facts{Digest: strings.Repeat("ab", 32)}
	err := s.Keep("a", []fetch.Source{source("1.txt", "one\n"), source("2.txt", ""), source("3.txt", "three")}, f, true,
		func(sums [][sha256.Size]byte) string {
			if len(sums) != 3 || sums[1] != sha256.Sum256(nil) {
				t.Errorf("sums %x", sums)
			}
			return f.Digest
		})
	if err != nil {
		t.Fatal(err)
	}
	got, err := copyOf(t, s, "a")
	if err != nil || got != "one\nthree" {
		t.Errorf("%q, %v", got, err)
	}
	f, err = s.Facts("a")
	if err != nil || len(f.Parts) != 3 || f.Parts[2] != (fetch.PartFacts{Name: "3.txt", Size: 5}) || f.SHA256 == f.Digest {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestStoreDir: a folder that cannot be written is an error with a remedy. Old downloads are removed unless they are in use.
func TestStoreDir(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := fetch.NewStore(filepath.Join(file, "state")).EnsureWritable(); err == nil || !strings.Contains(err.Error(), "state.dir") || !strings.Contains(err.Error(), ";") {
		t.Error(err)
	}
	s := openStore(t)
	old, young := filepath.Join(s.Dir(), "download-1.tmp"), filepath.Join(s.Dir(), "download-2.tmp")
	for _, p := range []string{old, young} {
		if err := os.WriteFile(p, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	s.Sweep([]string{old})
	if _, err := os.Stat(old); err != nil {
		t.Errorf("one that is in use: %v", err)
	}
	s.Sweep(nil)
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Error("the old one is left")
	}
	if _, err := os.Stat(young); err != nil {
		t.Error("the young one went")
	}
}

// TestVerify: a signature must be of the key, for the content and of the right kind; and Verify returns the serial.
func TestVerify(t *testing.T) {
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(text, comment string) []byte {
		r := minisign.NewReader(strings.NewReader(text))
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Fatal(err)
		}
		return r.SignWithComments(private, comment, "nothing")
	}
	good := sign(content, "timestamp:1700000000 file:list serial:42")
	for comment, want := range map[string]fetch.Serial{
		"timestamp:1700000000\tfile:list\thashed": {Kind: "timestamp", Value: 1700000000},
		"timestamp:1 serial:42":                   {Kind: "serial", Value: 42},
		"serial:-1":                               {},
		"a comment":                               {},
	} {
		if got, err := fetch.Verify(strings.NewReader(content), public.String(), sign(content, comment)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", comment, got, err)
		}
	}
	forged := bytes.Replace(good, []byte("serial:42"), []byte("serial:43"), 1)
	for name, c := range map[string]struct {
		key  string
		sig  []byte
		text string
	}{
		"other content": {public.String(), sign("b.example\n", ""), "not what was signed"},
		"other key":     {other.String(), good, "by the key"},
		"old kind":      {public.String(), minisign.Sign(private, []byte(content)), "-H"},
		"forged serial": {public.String(), forged, "not what was signed"},
		"nonsense":      {public.String(), []byte("404 not found"), "minisign"},
		"nothing":       {public.String(), nil, "minisign"},
		"no key":        {"RWQ", good, "public_key"},
	} {
		if s, err := fetch.Verify(strings.NewReader(content), c.key, c.sig); err == nil || !strings.Contains(err.Error(), c.text) || s != (fetch.Serial{}) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}
