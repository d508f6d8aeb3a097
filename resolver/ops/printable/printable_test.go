package printable_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"rideau/resolver/ops/printable"
)

// TestText: what a terminal obeys is escaped, and what people write is not.
func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "",
		"plain.example":         "plain.example",
		"«\u00a0Décret\u202f»":  "«\u00a0Décret\u202f»",
		"例え.example 😀":          "例え.example 😀",
		"\x1b[31mred":           `\u001b[31mred`,
		"a\nb\tc\rd\x00\x7f":    `a\u000ab\u0009c\u000dd\u0000\u007f`,
		"\u009b31m\u0085":       `\u009b31m\u0085`,
		"\x9b31m\xff":           `\x9b31m\xff`,
		"\u202emoc.elpmaxe":     `\u202emoc.elpmaxe`,
		"a\u2066b\u200bc\ufeff": `a\u2066b\u200bc\ufeff`,
		"\u2028\u2029":          `\u2028\u2029`,
		"\U000e0041":            `\udb40\udc41`,
		"cut \xe2\x82":          `cut \xe2\x82`,
		"\ufffd is a character": "\ufffd is a character",
	} {
		if got := printable.Text(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestWriter: line feeds and tabs pass, characters may come in pieces, and JSON stays JSON.
func TestWriter(t *testing.T) {
	in := "ban\tdécret \x1b]0;title\x07\r\n例😀\u009b\n"
	want := "ban\tdécret " + `\u001b]0;title\u0007\u000d` + "\n例😀" + `\u009b` + "\n"
	var whole, pieces, cut bytes.Buffer
	if n, err := printable.NewWriter(&whole).Write([]byte(in)); err != nil || n != len(in) {
		t.Error(n, err)
	}
	w := printable.NewWriter(&pieces)
	for i := range len(in) {
		w.Write([]byte{in[i]})
	}
	if whole.String() != want || pieces.String() != want {
		t.Errorf("got %q and %q, want %q", whole.String(), pieces.String(), want)
	}
	w = printable.NewWriter(&cut)
	w.Write([]byte("é\xe2\x82"))
	if err := w.Close(); err != nil || cut.String() != `é\xe2\x82` {
		t.Errorf("%q, %v", cut.String(), err)
	}
	var text bytes.Buffer
	e := json.NewEncoder(printable.NewWriter(&text))
	value := "\x1b\x7f\u009b\u202e\U000e0041é\n"
	if err := e.Encode(value); err != nil {
		t.Fatal(err)
	}
	var back string
	if err := json.Unmarshal(text.Bytes(), &back); err != nil || back != value || strings.ContainsAny(text.String(), value[:2]) {
		t.Errorf("%q: %q, %v", text.String(), back, err)
	}
	if _, err := printable.NewWriter(iotest.TruncateWriter(nil, 0)).Write(nil); err != nil {
		t.Error(err)
	}
}

// FuzzWriter: whatever comes, and in whatever pieces, nothing that a terminal obeys goes out.
func FuzzWriter(f *testing.F) {
	f.Add([]byte("a\x1b\xc2"), []byte("\x9bé"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var out bytes.Buffer
		w := printable.NewWriter(&out)
		w.Write(a)
		w.Write(b)
		w.Close()
		if !utf8.Valid(out.Bytes()) {
			t.Fatalf("%q is not UTF-8", out.String())
		}
		for _, r := range out.String() {
			if r != '\n' && r != '\t' && !unicode.IsGraphic(r) {
				t.Fatalf("%q has %U", out.String(), r)
			}
		}
		for _, r := range printable.Text(string(a) + string(b)) {
			if !unicode.IsGraphic(r) {
				t.Fatalf("Text has %U", r)
			}
		}
	})
}
