package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aead.dev/minisign"
	"github.com/miekg/dns"
)

// forge replaces the last good copy of a list by text and writes a record that fits it. change edits the record further.
func (w *world) forge(id, text string, change func(record map[string]any)) {
	w.t.Helper()
	record := map[string]any{}
	b, err := os.ReadFile(w.path("state/" + id + ".json"))
	if err == nil {
		err = json.Unmarshal(b, &record)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	old, _ := filepath.Glob(w.path("state/" + id + ".*.list"))
	for _, path := range old {
		os.Remove(path)
	}
	sum := sha256.Sum256([]byte(text))
	digest := hex.EncodeToString(sum[:])
	record["sha256"], record["digest"], record["entries"] = digest, digest, strings.Count(text, "\n")
	if change != nil {
		change(record)
	}
	if b, err = json.Marshal(record); err != nil {
		w.t.Fatal(err)
	}
	w.write("state/"+id+"."+digest[:16]+".list", text)
	w.write("state/"+id+".json", string(b))
}

// TestSignedCopy: the folder of the last good copies has the proof of a signed list. A copy and its record that were edited to fit each other
// do not serve, and no server confirms them by 304.
func TestSignedCopy(t *testing.T) {
	t.Parallel()
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(text string, serial int) []byte {
		r := minisign.NewReader(strings.NewReader(text))
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Fatal(err)
		}
		return r.SignWithComments(private, fmt.Sprintf("serial:%d", serial), "x")
	}
	w := newWorld(t)
	pub := newPublisher(w)
	pub.publish(`"v1"`, feedText)
	pub.sig = sign(feedText, 7)
	w.remote(pub.URL+"/list.txt", ", public_key: "+public.String())
	banned := func(what string, p *process) {
		t.Helper()
		if got := outcome(p.ask("udp", "second.example", dns.TypeA)); got != blocked {
			t.Errorf("%s: %s", what, got)
		}
		p.stop()
	}
	banned("at first", start(t, w.dir))

	// Without a network, the folder is enough, and it is verified.
	pub.breaks(http.NotFound)
	banned("without a network", start(t, w.dir))
	forged := "one.example\nother.example\nthree.example\n"
	other := string(sign(forged, 8))
	_, foreign, _ := minisign.GenerateKey(nil)
	r := minisign.NewReader(strings.NewReader(forged))
	_, _ = io.Copy(io.Discard, r) // a reader of a string does not fail
	part := func(text string) any { return map[string]any{"name": "x", "size": len(text)} }
	for name, c := range map[string]struct {
		text   string
		change func(map[string]any)
	}{
		"content":             {forged, nil},
		"no signature":        {forged, func(m map[string]any) { delete(m, "signature") }},
		"signature of others": {forged, func(m map[string]any) { m["signature"] = string(r.Sign(foreign)) }},
		"right content, signature of other content": {feedText, func(m map[string]any) { m["signature"] = other }},
		"right content, other serial":               {feedText, func(m map[string]any) { m["serial"] = map[string]any{"kind": "serial", "value": 1} }},
		"other content in parts":                    {feedText + forged, func(m map[string]any) { m["parts"] = []any{part(feedText)} }},
		"another part":                              {feedText + forged, func(m map[string]any) { m["parts"] = []any{part(feedText), part(forged)} }},
		"a part before":                             {forged + feedText, func(m map[string]any) { m["parts"] = []any{part(forged), part(feedText)} }},
	} {
		before, _ := os.ReadFile(w.path("state/feed.json"))
		w.forge("feed", c.text, c.change)
		if code, out := runRideau(t, w.dir, "serve", "--config", "rideau.yaml"); code != exitFailure || !strings.Contains(out, "last good copy is damaged") {
			t.Errorf("%s: %d %s", name, code, out)
		}
		w.forge("feed", feedText, func(m map[string]any) { clear(m); _ = json.Unmarshal(before, &m) })
	}
	banned("as it was", start(t, w.dir))

	// With a network, the whole list is sent again.
	w.forge("feed", forged, nil)
	pub.publish(`"v1"`, feedText)
	full, matched := pub.sent()
	banned("forged, with a network", start(t, w.dir))
	if f, m := pub.sent(); f != full+1 || m != matched {
		t.Errorf("sent %d times, confirmed %d times", f-full, m-matched)
	}

	// The copy of a signed file is held to the same.
	w.write("own.txt", feedText)
	w.write("own.sig", string(sign(feedText, 3)))
	w.config(func(s *settings) {
		s.extraLists += ", {id: own, file: own.txt, signature_file: own.sig, public_key: " + public.String() + "}"
		s.bans, s.more = "own", "state: {dir: state}\n"
	})
	banned("a file", start(t, w.dir))
	w.move("own.txt", "away.txt")
	banned("the copy of a file", start(t, w.dir))
	w.forge("own", forged, nil)
	if code, out := runRideau(t, w.dir, "serve", "--config", "rideau.yaml"); code != exitFailure || !strings.Contains(out, "the content is not what was signed") {
		t.Errorf("the forged copy of a file: %d %s", code, out)
	}
}
