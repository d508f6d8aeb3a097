package seal_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"rideau/resolver/audit/lines"
	"rideau/resolver/audit/seal"
)

// world is a folder with a sealed file.
type world struct {
	t     *testing.T
	dir   string
	key   *seal.Key
	heads []seal.Head
	now   time.Time
	n     int // events so far
	size  int64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	var err error
	if w.key, err = seal.NewKey(filepath.Join(t.TempDir(), "key")); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) path() string { return filepath.Join(w.dir, "events.json") }

func (w *world) writer() *seal.Writer {
	w.t.Helper()
	k, err := seal.NewWriter(seal.Options{File: lines.Options{Path: w.path(), MaxBytes: w.size}, Key: w.key, Node: "ottawa-1", Sink: "main", Every: time.Hour, Lines: 7,
		Sealed: func(h seal.Head) { w.heads = append(w.heads, h) }, Now: func() time.Time { return w.now }})
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

// write writes n events.
func (w *world) write(k *seal.Writer, n int) {
	w.t.Helper()
	for range n {
		w.n++
		w.now = w.now.Add(time.Minute)
		e := fmt.Sprintf(`{"schema":"rideau/1","event":"query","id":"0123456789abcdef-q%d","time":"%s","name":"www.wechat.com."}`, w.n, w.now.Format(time.RFC3339))
		if n, err := k.Write(w.t.Context(), [][]byte{[]byte(e)}); n != 1 || err != nil {
			w.t.Fatal(n, err)
		}
	}
}

func (w *world) close(k *seal.Writer) {
	w.t.Helper()
	if err := k.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// files are the files of the folder, with what is in them.
func (w *world) files() map[string][]byte {
	w.t.Helper()
	out := map[string][]byte{}
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(w.dir, e.Name()))
		if err != nil {
			w.t.Fatal(err)
		}
		out[e.Name()] = text
	}
	return out
}

// put writes files into a folder.
func put(t *testing.T, dir string, files map[string][]byte) (paths []string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

// check verifies files of a folder.
func (w *world) check(paths []string, heads []seal.Head) *seal.Report {
	w.t.Helper()
	r, err := seal.Verify(seal.Request{Keys: []seal.Public{w.key.Public()}, Files: paths, Heads: heads, Since: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// verify verifies files that are written into a folder of their own.
func (w *world) verify(files map[string][]byte, heads []seal.Head) *seal.Report {
	w.t.Helper()
	return w.check(put(w.t, w.t.TempDir(), files), heads)
}

// has reports whether a report has a finding of a kind, which is a fault or not.
func has(r *seal.Report, k seal.Kind, fault bool) bool {
	return slices.ContainsFunc(r.Findings, func(f seal.Finding) bool { return f.Kind == k && f.Fault == fault })
}

// sealed makes files: several that were renamed, and one that is stopped.
func sealed(t *testing.T) *world {
	w := newWorld(t)
	w.size = 20 << 10
	k := w.writer()
	w.write(k, 18)
	w.close(k)
	k = w.writer()
	w.write(k, 24)
	w.close(k)
	return w
}

// What was written is proved, in whatever order the files are read.
func TestIntact(t *testing.T) {
	w := sealed(t)
	files := w.files()
	if len(files) < 4 {
		t.Fatalf("only %d files", len(files))
	}
	r := w.verify(files, w.heads)
	if !r.Intact || r.Events != w.n || r.Seals != len(w.heads) || has(r, seal.End, false) || has(r, seal.Begin, false) || !has(r, seal.Gap, false) {
		t.Errorf("%+v", r)
	}
	// Compressed files, too.
	packed := map[string][]byte{}
	i := 0
	for name, text := range files {
		switch i++; {
		case strings.HasSuffix(name, seal.StateSuffix):
			packed[name] = text
		case i%2 == 0:
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			z.Write(text)
			z.Close()
			packed[name+".gz"] = b.Bytes()
		default:
			z, err := zstd.NewWriter(nil)
			if err != nil {
				t.Fatal(err)
			}
			packed[name+".zst"] = z.EncodeAll(text, nil)
		}
	}
	if r := w.verify(packed, w.heads); !r.Intact || r.Events != w.n {
		t.Errorf("%+v", r)
	}
	for name, text := range packed { // a compressed file that lost its end
		if !strings.HasSuffix(name, seal.StateSuffix) {
			packed[name] = text[:len(text)-9]
			break
		}
	}
	if r := w.verify(packed, w.heads); r.Intact {
		t.Errorf("a compressed file lost its end: %+v", r)
	}
}

// mutations calls each with every single change of one file: of octets, of lines
// and of its end.
func mutations(text []byte, each func(what string, changed []byte)) {
	all := bytes.SplitAfter(text, []byte("\n"))
	all = all[:len(all)-1]
	join := func(parts ...[][]byte) []byte { return bytes.Join(slices.Concat(parts...), nil) }
	at := 0
	for i, l := range all {
		each(fmt.Sprintf("line %d deleted", i), join(all[:i], all[i+1:]))
		each(fmt.Sprintf("line %d twice", i), join(all[:i+1], all[i:]))
		each(fmt.Sprintf("a line before %d", i), join(all[:i], [][]byte{[]byte("{}\n")}, all[i:]))
		each(fmt.Sprintf("an empty line before %d", i), join(all[:i], [][]byte{[]byte("\n")}, all[i:]))
		each(fmt.Sprintf("cut before line %d", i), join(all[:i]))
		each(fmt.Sprintf("cut within line %d", i), text[:at+len(l)/2])
		for j := i + 1; j < len(all); j += 9 {
			each(fmt.Sprintf("lines %d and %d swapped", i, j), join(all[:i], all[j:j+1], all[i+1:j], all[i:i+1], all[j+1:]))
		}
		for o := i % 7; o < len(l); o += 97 {
			changed := bytes.Clone(text)
			changed[at+o] ^= 1 << (o % 8)
			each(fmt.Sprintf("octet %d of line %d", o, i), changed)
		}
		at += len(l)
	}
}

// Any single change is told, and told right where that is known.
func TestAnyChangeIsTold(t *testing.T) {
	w := sealed(t)
	files := w.files()
	tried := 0
	dir := t.TempDir()
	all := put(t, dir, files)
	for name, text := range files {
		if strings.HasSuffix(name, seal.StateSuffix) {
			continue
		}
		path := filepath.Join(dir, name)
		if r := w.check(slices.DeleteFunc(slices.Clone(all), func(p string) bool { return p == path }), nil); r.Intact {
			t.Errorf("%s is missing: %+v", name, r)
		}
		mutations(text, func(what string, changed []byte) {
			put(t, dir, map[string][]byte{name: changed})
			// The whole is known outside, or only the last seal, beside the file.
			heads := w.heads
			if tried++; tried%2 == 0 {
				heads = nil
			}
			if r := w.check(all, heads); r.Intact {
				t.Errorf("%s, %s: not told: %+v", name, what, r.Findings)
			}
		})
		put(t, dir, map[string][]byte{name: text})
	}
	if tried < 500 {
		t.Errorf("only %d changes were tried", tried)
	}
}

// Each kind of change is told as what it is.
func TestKinds(t *testing.T) {
	w := newWorld(t)
	k := w.writer()
	w.write(k, 30)
	w.close(k)
	text := w.files()["events.json"]
	all := strings.SplitAfter(string(text), "\n")
	sealAt := slices.IndexFunc(all, func(l string) bool { return strings.Contains(l, `"why":"count"`) })
	for want, changed := range map[seal.Kind][]string{
		seal.Cut:       slices.Concat(all[:3], all[4:]),
		seal.Inserted:  slices.Concat(all[:3], []string{"{}\n"}, all[3:]),
		seal.Reordered: slices.Concat(all[:3], all[4:5], all[3:4], all[5:]),
		seal.Changed:   slices.Concat(all[:3], []string{strings.Replace(all[3], "wechat", "canada", 1)}, all[4:]),
		seal.Missing:   slices.Concat(all[:1], all[sealAt+1:]),
		seal.Forged:    slices.Concat(all[:sealAt], []string{strings.Replace(all[sealAt], `"lines":7`, `"lines":6`, 1)}, all[sealAt+1:]),
		seal.Twice:     slices.Concat(all[:sealAt+1], all[1:]),
		seal.Unsealed:  slices.Concat(all, []string{"{}\n"}),
	} {
		r := w.verify(map[string][]byte{"events.json": []byte(strings.Join(changed, ""))}, w.heads)
		if !has(r, want, true) || r.Intact {
			t.Errorf("%s is told as %+v", want, r.Findings)
		}
		if want == seal.Changed && !strings.Contains(r.Findings[0].Text, "first between 4 and 4") {
			t.Errorf("%s", r.Findings[0].Text)
		}
	}
	other, err := seal.NewKey(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := seal.Verify(seal.Request{Keys: []seal.Public{other.Public()}, Files: []string{w.path()}}); err != nil || r.Intact || !has(r, seal.WrongKey, true) {
		t.Errorf("%+v, %v", r, err)
	}
	// A head of another place that the files do not have.
	heads := append(slices.Clone(w.heads), w.heads[len(w.heads)-1])
	heads[len(heads)-1].Number++
	if r := w.verify(map[string][]byte{"events.json": text}, heads); !has(r, seal.Missing, true) {
		t.Errorf("%+v", r.Findings)
	}
}
