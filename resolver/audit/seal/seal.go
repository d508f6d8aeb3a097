// Package seal makes files of evidence in which a change is found, and finds it.
//
// # Format
//
// A sealed file has the lines that it would have otherwise, and between them seals,
// which are lines, too: JSON that begins with {"schema":"rideau-seal/1". A seal
// covers the lines since the seal before, which are a segment, and is signed with
// ed25519. It holds
//
//   - the chain's id, and its own number in the chain, from 1;
//   - how many lines the segment has, and the head of a chain of SHA-256 over them:
//     from 32 zero octets on, head = SHA-256(1, head, SHA-256(0, line)), where 0 and
//     1 are octets and a line has no line feed;
//   - the SHA-256 of the seal before, as a line: so that no seal can be taken out;
//   - the sum of the lines' hashes, which tells lines in another order from others,
//     and marks, which are the first octets of the head after every so many lines:
//     they say where a segment differs;
//   - the time, and why it was made.
//
// The signature is over the octets of the line before ,"signature".
//
// Every file begins with a seal and, when it is renamed, ends with one. A file
// beside it, of the same name and .seal, holds the last seal, so that the chain
// goes on after the file was renamed, and a file that lost its end is found out.
//
// # What it proves
//
// Lines that are covered are those that a holder of the private key sealed, in that
// order, and none between is missing. It does not prove that they are true, nor
// that whoever holds the key did not make all of it anew. Therefore each seal is
// told to the other sinks as an act: what a syslog server elsewhere holds of a
// chain ([Head]) cannot be made anew.
package seal

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"regexp"
	"strconv"
	"time"
)

// Reasons for seals.
const (
	Opened  = "open"    // a file begins
	Started = "start"   // the program started, and continues a file
	Resumed = "resumed" // the same, and the lines since the seal before were not sealed when the program ended
	Timed   = "time"    // it is time for one
	Counted = "count"   // there are many lines
	Rotated = "rotate"  // the file ends
	Stopped = "stop"    // the program stops
)

const (
	begin     = `{"schema":"rideau-seal/1",`
	signature = `,"signature":"`
	// maxSeal is the length of the longest seal.
	maxSeal = 16 << 10
	// maxMarks bounds the marks of a seal; with more, every second is left out.
	maxMarks = 128
	markSize = 4
)

// Seal is one seal.
type Seal struct {
	Schema   string    `json:"schema"`
	Chain    string    `json:"chain"`
	Number   uint64    `json:"number"`
	Time     time.Time `json:"time"`
	Node     string    `json:"node"`
	Sink     string    `json:"sink"`
	Why      string    `json:"why"`
	Lines    int       `json:"lines"`
	First    string    `json:"first,omitempty"` // id of the first event, if it has one
	Last     string    `json:"last,omitempty"`
	Head     string    `json:"head"`
	Sum      string    `json:"sum"`
	Step     int       `json:"step"` // lines for each mark
	Marks    string    `json:"marks"`
	Previous string    `json:"previous"` // empty for number 1
	Every    int64     `json:"every_s"`  // seconds until the next seal at the latest
	Key      string    `json:"key"`      // id of the public key

	hash  [sha256.Size]byte // of the line
	text  []byte            // what is signed
	proof []byte            // the signature
}

// Head is what a place outside holds of a chain.
type Head struct {
	Chain  string
	Number uint64
	Hash   [sha256.Size]byte // of the seal as a line
}

// String is the head as it stands in acts; ReadHeads finds it in any text.
func (h Head) String() string {
	return fmt.Sprintf("chain %s seal %d hash %x", h.Chain, h.Number, h.Hash)
}

func (s *Seal) head() Head { return Head{s.Chain, s.Number, s.hash} }

// ReadHeads returns the heads in a text, such as a log that a syslog server wrote,
// and the seals, such as the file beside a sealed one; each once.
func ReadHeads(r io.Reader) ([]Head, error) {
	form := regexp.MustCompile(`chain ([0-9a-f]{16}) seal ([0-9]{1,19}) hash ([0-9a-f]{64})`)
	var out []Head
	seen := map[Head]bool{}
	add := func(h Head) {
		if !seen[h] {
			seen[h] = true
			out = append(out, h)
		}
	}
	err := eachLine(r, func(l *line) {
		if s := parse(l.text); s != nil {
			add(s.head())
		}
		for _, m := range form.FindAllSubmatch(l.text, -1) {
			h := Head{Chain: string(m[1])}
			h.Number, _ = strconv.ParseUint(string(m[2]), 10, 64)
			hex.Decode(h.Hash[:], m[3])
			add(h)
		}
	})
	return out, err
}

// sign makes the line of a seal, without a line feed.
func (s *Seal) sign(k *Key) ([]byte, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	text = text[:len(text)-1]
	s.text, s.proof = text, ed25519.Sign(k.private, text)
	out := append(bytes.Clone(text), signature...)
	out = hex.AppendEncode(out, s.proof)
	out = append(out, `"}`...)
	s.hash = sha256.Sum256(out)
	return out, nil
}

// parse returns the seal that a line is, or nil if it is none. The signature is
// not looked at.
func parse(l []byte) *Seal {
	if !bytes.HasPrefix(l, []byte(begin)) {
		return nil
	}
	i := bytes.LastIndex(l, []byte(signature))
	if i < 0 || len(l) != i+len(signature)+2*ed25519.SignatureSize+2 || string(l[len(l)-2:]) != `"}` {
		return nil
	}
	text := l[i+len(signature) : len(l)-2]
	proof, err := hex.DecodeString(string(text))
	if err != nil || hex.EncodeToString(proof) != string(text) { // capital letters, too, are a change
		return nil
	}
	s := new(Seal)
	if json.Unmarshal(append(bytes.Clone(l[:i]), '}'), s) != nil {
		return nil
	}
	s.text, s.proof, s.hash = bytes.Clone(l[:i]), proof, sha256.Sum256(l)
	return s
}

// segment is what a seal says of the lines that it covers.
type segment struct {
	n           int
	head        [sha256.Size]byte
	sum         [4]uint64
	step        int
	marks       [][markSize]byte
	first, last string
}

func newSegment() segment { return segment{step: 1} }

// add adds a line.
func (g *segment) add(l *line) {
	g.n++
	buf := append([]byte{1}, g.head[:]...)
	g.head = sha256.Sum256(append(buf, l.leaf[:]...))
	for i := range g.sum {
		g.sum[i] += binary.BigEndian.Uint64(l.leaf[8*i:])
	}
	if g.n%g.step == 0 {
		g.marks = append(g.marks, [markSize]byte(g.head[:]))
	}
	if len(g.marks) == maxMarks {
		for i := range maxMarks / 2 {
			g.marks[i] = g.marks[2*i+1]
		}
		g.marks = g.marks[:maxMarks/2]
		g.step *= 2
	}
	if g.n == 1 {
		g.first = idOf(l.text)
	}
	g.last = idOf(l.text)
}

// fill writes what is known of the segment into a seal.
func (g *segment) fill(s *Seal) {
	s.Lines, s.First, s.Last, s.Head, s.Step = g.n, g.first, g.last, hex.EncodeToString(g.head[:]), g.step
	var sum, marks []byte
	for _, v := range g.sum {
		sum = binary.BigEndian.AppendUint64(sum, v)
	}
	for _, m := range g.marks {
		marks = append(marks, m[:]...)
	}
	s.Sum, s.Marks = hex.EncodeToString(sum), hex.EncodeToString(marks)
}

// idOf returns the id in an event of our own format; empty if there is none.
func idOf(l []byte) string {
	_, rest, ok := bytes.Cut(l[:min(len(l), 200)], []byte(`"id":"`))
	id, _, end := bytes.Cut(rest, []byte{'"'})
	if !ok || !end || len(id) > 64 {
		return ""
	}
	for _, c := range id {
		if c < '-' || c > 'z' {
			return ""
		}
	}
	return string(id)
}

// line is a line of a file.
type line struct {
	leaf [sha256.Size]byte // hash of the line
	text []byte            // its first maxSeal octets
	torn bool              // it has no end
	n    int64             // octets of it, without a line feed
}

// splitter finds the lines in what it is fed.
type splitter struct {
	h    hash.Hash // of the line; nil before its first octet
	text []byte
	n    int64
}

// pending reports whether there is a line without an end.
func (p *splitter) pending() bool { return p.n > 0 }

// feed calls each for every line that ends in b. What each gets is valid until it
// returns.
func (p *splitter) feed(b []byte, each func(*line)) {
	for len(b) > 0 {
		part, rest, end := bytes.Cut(b, []byte{'\n'})
		p.take(part)
		if b = rest; end {
			each(p.end())
		}
	}
}

func (p *splitter) take(b []byte) {
	if p.h == nil {
		p.h = sha256.New()
	}
	if p.n == 0 {
		p.h.Reset()
		p.h.Write([]byte{0})
		p.text = p.text[:0]
	}
	p.h.Write(b)
	p.text = append(p.text, b[:min(len(b), maxSeal-len(p.text))]...)
	p.n += int64(len(b))
}

// end returns the line that ends here.
func (p *splitter) end() *line {
	l := &line{text: p.text, n: p.n}
	if p.n > maxSeal {
		l.text = l.text[:maxSeal]
	}
	p.h.Sum(l.leaf[:0])
	p.n = 0
	return l
}

// eachLine calls each for every line of r, the last of which may be torn.
func eachLine(r io.Reader, each func(*line)) error {
	var p splitter
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		p.feed(buf[:n], each)
		if err != nil {
			if p.pending() {
				l := p.end()
				l.torn = true
				each(l)
			}
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}
