package format

import (
	"bytes"
	"cmp"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
)

var (
	faultUTF16 = fault{reason: "text in UTF-16", remedy: "save the file as UTF-8"}
	faultGzip  = fault{reason: "begins like a compressed file, and is none", remedy: "check what the list's address delivers"}
)

var errTooLarge = errors.New("expands to more than the list may have")

const (
	// headSize is how much of a list is looked at to tell what it is.
	headSize = 64 << 10
	// binarySize is how much of a list has to be without NUL octets. Further
	// on they cost their lines, no more.
	binarySize = 512

	defaultMaxBytes = 1 << 30
)

// begin looks at how the input begins, and settles the format.
func (l *reader) begin(f Format) error {
	if head, _ := l.br.Peek(2); string(head) == "\x1f\x8b" {
		l.at = 1
		z, err := gzip.NewReader(l.br)
		if err != nil {
			return l.problem(nil, faultGzip)
		}
		l.br = newBuffer(&limited{z, cmp.Or(l.opt.MaxBytes, defaultMaxBytes)})
	}
	head, _ := l.br.Peek(headSize) // an error comes again with the first line
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff")):
		l.at = 1
		return l.problem(nil, faultUTF16)
	case bytes.IndexByte(head[:min(len(head), binarySize)], 0) >= 0:
		l.at = 1 + bytes.Count(head[:bytes.IndexByte(head, 0)], []byte("\n"))
		return l.problem(nil, faultBinary)
	case f == Auto:
		f = Detect(head)
	}
	l.opt.Format, l.stats.Format = f, f
	return nil
}

// limited is a reader that fails where there is more than left octets.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, errTooLarge
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left+1)])
	if l.left -= int64(n); l.left < 0 {
		return max(n-1, 0), errTooLarge
	}
	return n, err
}

// Detect says what format a list has that begins so. It never says Auto; what
// has no marks of any other format is Plain. It looks at whole lines alone, unless
// there is but one.
//
// A zone has an SOA record; a pack has the words of its second column between
// tabs; an adblock list has more rules with its marks than lines of address and name; a hosts file
// has at least as many of these as bare names; dnsmasq's options begin with their
// names.
func Detect(head []byte) Format {
	if i := bytes.LastIndexByte(head, '\n'); i >= 0 {
		head = head[:i]
	}
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	var plain, adblock, hosts, dnsmasq int
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\n"))
		line = trim(line)
		switch {
		case len(line) == 0 || line[0] == ';':
			continue
		case isPackLine(line):
			return Pack
		case line[0] == '!' || bytes.HasPrefix(bytes.ToLower(line), []byte("[adblock")) || bytes.HasPrefix(line, []byte("||")) ||
			bytes.HasPrefix(line, []byte("@@")) || line[0] != '#' && cosmeticAt(line) > 0:
			adblock++
			continue
		case line[0] == '#':
			continue
		case isZoneLine(line):
			return RPZ
		case isDnsmasq(line):
			dnsmasq++
			continue
		}
		option, _, _ := bytes.Cut(line, []byte("="))
		switch first, rest := field(line); {
		case len(rest) > 0 && isAddress(first):
			hosts++
		case !isWord(option): // else it may be a setting, and names have dots
			plain++
		}
	}
	switch {
	case dnsmasq > max(adblock, hosts, plain):
		return Dnsmasq
	case adblock > 0 && adblock >= hosts:
		return Adblock
	case hosts > 0 && hosts >= plain:
		return Hosts
	}
	return Plain
}

func isPackLine(line []byte) bool {
	_, rest, ok := bytes.Cut(line, []byte("\t"))
	match, _, more := bytes.Cut(rest, []byte("\t"))
	switch string(match) {
	case "match", "suffix", "exact", "below", "address":
		return ok && more
	}
	return false
}

// isZoneLine reports whether a line can only be of a zone file: a directive, or
// an SOA record. Others of its lines may look like anything.
func isZoneLine(line []byte) bool {
	first, rest := field(line)
	for _, d := range [...]string{"$TTL", "$ORIGIN", "$INCLUDE", "$GENERATE"} {
		if bytes.EqualFold(first, []byte(d)) && len(rest) > 0 {
			return true
		}
	}
	if bytes.EqualFold(first, []byte("SOA")) {
		return true // its owner stands on the line before
	}
	for range 3 { // TTL, class, type
		first, rest = field(rest)
		if bytes.EqualFold(first, []byte("SOA")) && len(rest) > 0 {
			return true
		}
	}
	return false
}

// noteSerial keeps the version that a comment tells.
func (l *reader) noteSerial(line []byte) {
	if l.stats.HasSerial || l.stats.Lines > 100 || line[0] != '#' && line[0] != '!' {
		return
	}
	text := bytes.ToLower(bytes.TrimLeft(line, "#! \t"))
	for _, word := range [...]string{"serial:", "version:"} {
		digits, ok := bytes.CutPrefix(text, []byte(word))
		if !ok {
			continue
		}
		digits, _ = field(trim(digits))
		var n uint64
		for _, d := range digits {
			if d < '0' || d > '9' || n > (1<<63)/10 {
				return
			}
			n = n*10 + uint64(d-'0')
		}
		l.stats.Serial, l.stats.HasSerial = n, len(digits) > 0
	}
}

// reasons sums up why lines were passed over.
func (l *reader) reasons() {
	for f, n := range l.passed {
		l.stats.Reasons = append(l.stats.Reasons, Reason{f.reason, n, f.aside})
	}
	slices.SortFunc(l.stats.Reasons, func(a, b Reason) int {
		return cmp.Or(b.Lines-a.Lines, cmp.Compare(a.Reason, b.Reason))
	})
}

// readError names where reading failed.
func (l *reader) readError(err error) error {
	if errors.Is(err, errTooLarge) {
		return fmt.Errorf("%s:%d: the compressed list %w (%d octets); check what it is, or raise max_bytes for the list",
			l.opt.File, l.at, err, cmp.Or(l.opt.MaxBytes, defaultMaxBytes))
	}
	var corrupt flate.CorruptInputError
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &corrupt) {
		return fmt.Errorf("%s:%d: the compressed list is cut off or damaged (%w); fetch it again, or compress it anew", l.opt.File, l.at, err)
	}
	return fmt.Errorf("%s:%d: read: %w", l.opt.File, l.at, err)
}
