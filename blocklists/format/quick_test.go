package format_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"rideau/blocklists/format"
)

// TestQuickLines reads lines that are names, or nearly names, at every offset in
// the steps of eight octets, and compares with reading line by line.
func TestQuickLines(t *testing.T) {
	var b bytes.Buffer
	for n := range 70 {
		for c := range 256 { // any octet, about the first steps and the last
			if c == 0 || c == '<' || n > 9 && n < 55 {
				continue // the two octets end the read
			}
			name := []byte(strings.Repeat("a", n) + "b.example")
			name[n] = byte(c)
			b.Write(append(name, '\n'))
		}
		for _, s := range []string{".", "..", "...", ".a", ".a.", ".A-_9", ".b.c", ".b.7", ".7b", ".b..", ".b^", " ", "\r", "\r\r", ".b.c\r"} {
			b.WriteString(strings.Repeat("Z", n) + s + "\n")
		}
	}
	for n := range 70 { // labels of every length
		b.WriteString(strings.Repeat(strings.Repeat("z", n)+".", 64/(n+1)) + "q\n")
	}
	b.WriteString("\n\n\r\nlocalhost.localdomain\nLocalhost.localdomain\nlocalhost.example\n")
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		for range rng.IntN(40) {
			b.WriteByte("abcxyzABCXYZ019-_...^|=* "[rng.IntN(25)])
		}
		b.WriteByte('\n')
	}
	lines := b.String()
	for f, before := range map[format.Format][]string{
		format.Plain:   {"", "=", "*.", "==", "*", " "},
		format.Hosts:   {"", "0.0.0.0 ", "127.0.0.1 ", "0.0.0.0\t", "0.0.0.0", "0.0.0.0  "},
		format.Adblock: {"", "||", "|", "|||", "@@||"},
	} {
		for _, p := range before {
			text := p + strings.ReplaceAll(lines, "\n", "\n"+p) + "\n" + padding(f)
			sameByOctets(t, []byte(text), format.Options{File: "list", Format: f, MaxSkipped: 1})
			if f == format.Adblock {
				text = strings.ReplaceAll(text, "\n", "^\n")
				sameByOctets(t, []byte(text), format.Options{File: "list", Format: f, MaxSkipped: 1})
			}
		}
	}
}
