package seal_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rideau/resolver/audit/lines"
	"rideau/resolver/audit/seal"
)

// Wherever the program was killed, the next run continues the chain, loses no line
// that was there, and says what was not sealed meanwhile.
func TestKilled(t *testing.T) {
	w := newWorld(t)
	k := w.writer()
	w.write(k, 10)
	whole := w.files()
	w.close(k) // what comes after the copy is thrown away
	text := whole["events.json"]
	for cut := range len(text) + 1 {
		if cut%211 != 0 && len(text)-cut > 3 && text[max(cut-1, 0)] != '\n' {
			continue
		}
		for _, state := range []bool{true, false} {
			v := newWorld(t)
			v.key, v.now = w.key, w.now
			if err := os.WriteFile(v.path(), text[:cut], 0o640); err != nil {
				t.Fatal(err)
			}
			lost := 0 // seals that the file lost, which the state knows
			if state {
				if err := os.WriteFile(v.path()+seal.StateSuffix, whole["events.json.seal"], 0o640); err != nil {
					t.Fatal(err)
				}
				lost = strings.Count(string(text), "rideau-seal") - strings.Count(string(text[:cut]), "rideau-seal/1")
			}
			before := strings.Count(string(text[:cut]), "\n")
			k := v.writer()
			v.write(k, 10)
			v.close(k)
			after := v.files()["events.json"]
			if !strings.HasPrefix(string(after), string(text[:cut])) {
				t.Fatalf("cut at %d: what was there has changed", cut)
			}
			r := v.verify(v.files(), v.heads)
			if lost == 0 && cut > 0 && !r.Intact && !missing(r) || r.Events < 10 {
				t.Errorf("cut at %d, %d lines, state %v: %+v", cut, before, state, r.Findings)
			}
			if !state && !r.Intact {
				t.Errorf("cut at %d: %+v", cut, r.Findings)
			}
		}
	}
}

// missing reports whether all faults are seals that the cut file lost.
func missing(r *seal.Report) bool {
	for _, f := range r.Findings {
		if f.Fault && f.Kind != seal.Missing {
			return false
		}
	}
	return true
}

// An unsealed tail is told by verify, and later that it had no seal for a time.
func TestTail(t *testing.T) {
	w := newWorld(t)
	k := w.writer()
	w.write(k, 10)
	files := w.files()
	if r := w.verify(files, w.heads); !r.Intact || !has(r, seal.Tail, false) || r.Events != 7 {
		t.Errorf("%+v", r)
	}
	w.close(k)
	heads := w.heads[:len(w.heads)-1]
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(w.dir, name), text, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	w.heads = heads
	w.now = w.now.Add(time.Hour)
	k = w.writer()
	w.write(k, 1)
	w.close(k)
	r := w.verify(w.files(), w.heads)
	if !r.Intact || !has(r, seal.Tail, false) || !has(r, seal.Gap, false) || r.Events != 11 {
		t.Errorf("%+v", r)
	}
}

// Without events there are seals, too, so that time without them is seen.
func TestTimedSeals(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		k, err := seal.NewWriter(seal.Options{File: lines.Options{Path: w.path()}, Key: w.key, Every: time.Hour, Lines: 1000, Sealed: func(h seal.Head) { w.heads = append(w.heads, h) }})
		if err != nil {
			t.Fatal(err)
		}
		w.write(k, 1)
		time.Sleep(5*time.Hour + time.Minute)
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	})
	r := w.verify(w.files(), w.heads)
	if !r.Intact || r.Seals != 7 || len(r.Findings) != 0 || r.To.Sub(r.From) != 5*time.Hour+time.Minute {
		t.Errorf("%+v", r)
	}
	// With Tail, lines get their seal sooner, and time without lines has no more of them.
	w = newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		k, err := seal.NewWriter(seal.Options{File: lines.Options{Path: w.path()}, Key: w.key, Every: time.Hour, Tail: time.Minute, Lines: 1000,
			Sealed: func(h seal.Head) { w.heads = append(w.heads, h) }})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			w.write(k, 2)
			before := len(w.heads)
			time.Sleep(59 * time.Second)
			synctest.Wait()
			if len(w.heads) != before {
				t.Error("a seal came too soon")
			}
			w.write(k, 1)
			time.Sleep(time.Second)
			synctest.Wait()
			if r := w.verify(w.files(), w.heads); len(w.heads) != before+1 || has(r, seal.Tail, false) {
				t.Errorf("%d seals more; %+v", len(w.heads)-before, r)
			}
			time.Sleep(5 * time.Minute)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	})
	if r := w.verify(w.files(), w.heads); !r.Intact || r.Seals != 5 {
		t.Errorf("%+v", r)
	}
	// The same with a machine that slept.
	w = newWorld(t)
	k := w.writer()
	w.write(k, 7)
	w.now = w.now.Add(3 * time.Hour)
	w.write(k, 7)
	w.close(k)
	if r := w.verify(w.files(), w.heads); !r.Intact || !has(r, seal.Gap, false) {
		t.Errorf("%+v", r)
	}
}

// A file that was there before it was sealed is sealed, with the note that it was
// not.
func TestFileFromBefore(t *testing.T) {
	w := newWorld(t)
	if err := os.WriteFile(w.path(), []byte("{}\n{}\n{\"torn"), 0o640); err != nil {
		t.Fatal(err)
	}
	k := w.writer()
	w.write(k, 1)
	w.close(k)
	if r := w.verify(w.files(), w.heads); !r.Intact || r.Events != 4 || !has(r, seal.Tail, false) {
		t.Errorf("%+v", r)
	}
}

// Heads are found in whatever a syslog server makes of an act.
func TestReadHeads(t *testing.T) {
	h := seal.Head{Chain: "0123456789abcdef", Number: 12}
	h.Hash[0] = 0xab
	text := fmt.Sprintf("Jan 1 host rideau: {\"event\":\"seal\",\"reason\":\"%s\"}\nnothing\n<134>1 %s and %s\n", h, h, h)
	got, err := seal.ReadHeads(strings.NewReader(text))
	if err != nil || len(got) != 1 || got[0] != h {
		t.Errorf("%v, %v", got, err)
	}
}

// Keys are for their owner alone, are never printed, and other programs read them.
func TestKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	k, err := seal.NewKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := seal.NewKey(path); err == nil {
		t.Error("a key was overwritten")
	}
	again, err := seal.LoadKey(path)
	if err != nil || again.String() != k.String() {
		t.Errorf("%v, %v", again, err)
	}
	p, err := seal.ParsePublic(" " + k.String() + "\n")
	if err != nil || p.ID() != k.Public().ID() {
		t.Errorf("%v, %v", p, err)
	}
	if got := fmt.Sprintf("%v %+v %#v", k, k, k); got != strings.Repeat(k.String()+" ", 2)+k.String() {
		t.Errorf("%s", got)
	}
	for _, bad := range []string{"", "x", k.String()[4:], "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"} {
		if _, err := seal.ParsePublic(bad); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	out, err := exec.Command(openssl, "pkey", "-in", path, "-pubout").Output()
	if err != nil {
		t.Fatal(err)
	}
	if p, err := seal.ParsePublic(string(out)); err != nil || p.String() != k.String() {
		t.Errorf("%s: %v, %v", out, p, err)
	}
}
