package password

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Entry is a line of a file of users.
type Entry struct {
	Name, Role string
	Hash       Hash
	Line       int
}

// String is the line: NAME:ROLE:HASH.
func (e Entry) String() string { return e.Name + ":" + e.Role + ":" + e.Hash.String() }

// MaxName is the length of a name, in octets, and MaxUsers the number of users in a file.
const (
	MaxName  = 64
	MaxUsers = 256
	maxLine  = 1024
)

// CheckName returns an error for what is no name of a user. Names have letters, digits
// and the signs of addresses of mail: nothing that a terminal, a log or a page takes for
// something else.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the name of the user is empty; write one")
	case len(name) > MaxName || !utf8.ValidString(name):
		return fmt.Errorf("the name of the user is longer than %d octets, or no UTF-8; write a shorter one", MaxName)
	}
	for _, r := range name {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._@+", r) {
			return fmt.Errorf("the name of the user has %q; use letters, digits and -._@+", r)
		}
	}
	return nil
}

// LineError is an error in a line of a file of users. Err has a remedy.
type LineError struct {
	Line int
	Err  error
}

// Error implements error.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Read reads a file of users: a line for each, as Entry.String has it. Empty lines and
// those that begin with # are skipped. isRole says which roles there are; roles
// are their names, for the remedy. The error is a *LineError, or that of r.
func Read(r io.Reader, isRole func(string) bool, roles string) ([]Entry, error) {
	var out []Entry
	seen := map[string]int{}
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	n := 0
	for s.Scan() {
		n++
		fail := func(format string, args ...any) ([]Entry, error) {
			return nil, &LineError{n, fmt.Errorf(format, args...)}
		}
		line := strings.TrimSpace(s.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, ok := strings.Cut(line, ":")
		role, hash, also := strings.Cut(rest, ":")
		if !ok || !also {
			return fail("this is not NAME:ROLE:HASH; make the line with rideau user")
		}
		if err := CheckName(name); err != nil {
			return fail("%w", err)
		}
		if !isRole(role) {
			return fail("%q is no role; use %s", shortened(role), roles)
		}
		h, err := Parse(hash)
		if err != nil {
			return fail("%s: %w", name, err)
		}
		if first := seen[name]; first > 0 {
			return fail("%s is a user already, in line %d; remove one of the lines", name, first)
		}
		if len(out) == MaxUsers {
			return fail("there are more than %d users; use OpenID Connect for so many", MaxUsers)
		}
		seen[name] = n
		out = append(out, Entry{name, role, h, n})
	}
	if err := s.Err(); err == bufio.ErrTooLong {
		return nil, &LineError{n + 1, fmt.Errorf("the line has more than %d octets; make it with rideau user", maxLine)}
	} else if err != nil {
		return nil, err
	}
	return out, nil
}

func shortened(s string) string { return fmt.Sprintf("%.40s", s) }
