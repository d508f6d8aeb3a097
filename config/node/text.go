package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// MaxSize is the size of the largest configuration that is read, in bytes.
const MaxSize = 4 << 20

// parseText returns the root of the only document of a text, or the problem for which the text is not YAML.
func parseText(name string, text []byte) (*yaml.Node, *Problem) {
	if p := checkText(text); p != nil {
		p.File = name
		return nil, p
	}
	root, second, err := decode(text)
	if err != nil {
		p := syntaxProblem(text, err)
		p.File = name
		return nil, p
	}
	if second > 0 {
		return nil, &Problem{File: name, Line: second, Message: "a second YAML document begins here",
			Remedy: "keep one document to a file and remove the line ---"}
	}
	if root == nil {
		return nil, &Problem{File: name, Line: 1, Message: "the file is empty",
			Remedy: "write at least lists and bans; rideau.example.yaml shows every key"}
	}
	return root, nil
}

// checkText refuses characters with which line numbers or the parser would be unreliable.
func checkText(text []byte) *Problem {
	if len(text) > MaxSize {
		return &Problem{Message: fmt.Sprintf("the file is larger than %d MiB", MaxSize>>20),
			Remedy: "keep long lists of names in files of their own (lists[].file)"}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	line := 1
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return &Problem{Line: line, Message: "the text is not UTF-8", Remedy: "save the file as UTF-8"}
		case r == '\n':
			line++
		// The parser ends a line at each of these and editors do not, so that line numbers would be wrong.
		case r == '\r' && !bytes.HasPrefix(text[i:], []byte("\r\n")), r == 0x85, r == 0x2028, r == 0x2029:
			return &Problem{Line: line, Message: fmt.Sprintf("line separator %U", r), Remedy: "end lines with a line feed"}
		case r < ' ' && r != '\t' && r != '\r', r >= 0x7f && r < 0xa0, r == 0xfeff, r == 0xfffe, r == 0xffff:
			return &Problem{Line: line, Message: fmt.Sprintf("control character %U", r), Remedy: "remove it"}
		}
		i += size
	}
	return nil
}

// decode reads at most two documents. It returns the root of the first, nil if there is none, and the line where a second begins, 0 if
// there is none. The parser panics for some hostile texts; decode returns that as a syntax error.
func decode(text []byte) (root *yaml.Node, second int, err error) {
	defer func() {
		if r := recover(); r != nil {
			root, second, err = nil, 0, fmt.Errorf("yaml: %v", r)
		}
	}()
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, 0, nil
	case err != nil:
		return nil, 0, err
	}
	var next yaml.Node
	switch err := d.Decode(&next); {
	case err == nil:
		return nil, max(next.Line, 1), nil
	case !errors.Is(err, io.EOF):
		return nil, 0, err
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, 0, nil
	}
	root = doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil, 0, nil
	}
	return root, 0, nil
}

// quoting is the remedy for most syntax errors in a list of names.
const quoting = `put the value in quotes, such as "*.example.com"`

// syntaxProblem returns the problem for an error of the YAML parser.
func syntaxProblem(text []byte, err error) *Problem {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = message[len(m[0]):]
	}
	if m := regexp.MustCompile(`^unknown anchor '(.*)' referenced$`).FindStringSubmatch(message); m != nil {
		return &Problem{Line: lineOf(text, "*"+m[1]), Message: "a * that is not in quotes begins a YAML alias, and no anchor is called " + strconv.Quote(m[1]),
			Remedy: quoting}
	}
	line = failingLine(text, line)
	if message == "did not find expected alphabetic or numeric character" {
		return &Problem{Line: line, Message: "a * or & that is not in quotes begins a YAML alias or anchor", Remedy: quoting}
	}
	if indent := indentation(text, line); strings.Contains(indent, "\t") {
		return &Problem{Line: line, Message: "the line is indented with a tab, which YAML does not allow", Remedy: "use spaces"}
	}
	return &Problem{Line: line, Message: "the text is not YAML: " + message,
		Remedy: "check indentation (spaces, no tabs), brackets and quotes; put a value in quotes that begins with one of * & ! | > % @ [ {"}
}

// indentation returns the white space at the start of a line.
func indentation(text []byte, line int) string {
	lines := bytes.Split(text, []byte("\n"))
	if line < 1 || line > len(lines) {
		return ""
	}
	l := string(lines[line-1])
	return l[:len(l)-len(strings.TrimLeft(l, " \t"))]
}

// lineOf returns the first line that has s outside of a comment.
func lineOf(text []byte, s string) int {
	for i, line := range bytes.Split(text, []byte("\n")) {
		at := bytes.Index(line, []byte(s))
		if comment := bytes.IndexByte(line, '#'); at >= 0 && (comment < 0 || at < comment) {
			return i + 1
		}
	}
	return 1
}

// failingLine returns the line with which the text stops being YAML: the text above it is YAML, and nothing below makes it so again. The
// parser itself names the line where the surrounding construct begins, which can be far above. For a long text failingLine returns that.
func failingLine(text []byte, named int) int {
	const longest, window = 64 << 10, 16
	lines := bytes.SplitAfter(text, []byte("\n"))
	if len(text) > longest {
		return min(max(named, 1), len(lines))
	}
	fails := func(n int) bool {
		_, _, err := decode(bytes.Join(lines[:n], nil))
		return err != nil
	}
	for good := 0; ; {
		n := good + 1 + sort.Search(len(lines)-good-1, func(i int) bool { return fails(good + 1 + i) })
		// A list in brackets over several lines fails until its last; then the search goes on below it.
		mended := n + 1
		for mended < min(n+window, len(lines)) && fails(mended) {
			mended++
		}
		if mended >= min(n+window, len(lines)) {
			return n
		}
		good = mended
	}
}
