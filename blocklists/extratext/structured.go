package extratext

import (
	"bytes"
	"encoding/json"
	"net/mail"
	"strings"

	"rideau/resolver/wire"
)

// Version is a version of the format of structured errors.
type Version uint8

// Versions.
const (
	// None is no structured errors.
	None Version = iota
	// Draft25 is draft-ietf-dnsop-structured-dns-error-25, with the field fdbs of draft-ietf-dnsop-filtering-transparency-00.
	Draft25
)

// Structured says how structured errors are made. The zero Structured makes none.
type Structured struct {
	Version Version
	// Option is the EDNS option by which clients ask for structured errors. The drafts have no number yet.
	Option uint16
	// French says whether the text is the French one, where there is one.
	French bool
	// Organization is who blocks; it may be empty.
	Organization string
	// Databases are the identifiers of the databases in which the bans are described by their ids.
	Databases []string
}

// SubError says more than an extended error does why a name is blocked.
type SubError uint8

// SubErrors, by their numbers (draft-ietf-dnsop-structured-dns-error-25 section 11.4).
const (
	NoSubError      SubError = 0
	Malware         SubError = 1
	Phishing        SubError = 2
	Spam            SubError = 3
	Spyware         SubError = 4
	NetworkOperator SubError = 5
	DNSOperator     SubError = 6
)

// Extended errors with structured text are those from blocked to filtered (section 5.2 of the draft), by their numbers in RFC 8914.
const (
	blocked  = 15
	filtered = 17
)

// Fits reports whether the sub-error may stand beside an extended error, given by its number (section 11.4 of the draft).
func (s SubError) Fits(code uint16) bool {
	switch s {
	case NoSubError:
		return true
	case NetworkOperator, DNSOperator:
		return code == blocked
	}
	return code == blocked || code == filtered
}

// Fact is what a structured error tells of a ban.
type Fact struct {
	ID       string
	TitleEN  string
	TitleFR  string
	Contact  string // as operators write it: see [Contacts]
	Code     uint16 // the extended error, by its number
	SubError SubError
}

// Sizes in octets. With fullLimit, the answer for the longest name still fits 1232 octets; with shortLimit, 512.
const (
	fullLimit         = 480
	shortLimit        = Limit
	organizationLimit = 80
)

// Options returns the EDNS options of answers by a ban, each shorter than the one before: the extended error with a text that names the ban in
// its languages (RFC 8914 section 2), and for clients that ask for structured errors those with a structured text. The last ones have no text.
// structured is nil if there is no structured text.
func (s *Structured) Options(f *Fact) (options, structured [][]byte) {
	bare := wire.AppendEDE(nil, f.Code, "")
	options = [][]byte{wire.AppendEDE(nil, f.Code, Of(f.ID, []string{f.TitleEN, f.TitleFR}, f.Contact)), bare}
	for _, t := range s.Of(f) {
		structured = append(structured, wire.AppendEDE(nil, f.Code, t))
	}
	if structured != nil {
		structured = append(structured, bare)
	}
	return options, structured
}

// Of returns the texts of a ban's structured error, the longest first: whoever sends one takes the first that there is space for. In the later
// ones the justification and the organization are missing, which the draft wants left out first. There are none if clients would not heed them:
// for an extended error that is not among those of the draft, and in version None.
func (s *Structured) Of(f *Fact) []string {
	if s.Version != Draft25 || f.Code < blocked || f.Code > filtered {
		return nil
	}
	contacts := Contacts(f.Contact)
	long := object{C: contacts, S: f.SubError, O: truncate(s.Organization, organizationLimit)}
	if !f.SubError.Fits(f.Code) {
		long.S = NoSubError
	}
	for _, db := range s.Databases {
		long.FDBs = append(long.FDBs, entry{db, f.ID})
	}
	long.J, long.L = f.TitleEN, "en"
	if s.French && f.TitleFR != "" {
		long.J, long.L = f.TitleFR, "fr"
	}
	short := long
	short.J, short.O, short.L = "", "", ""
	bare := short
	bare.FDBs = nil
	one, none := bare, bare
	one.C, none.C = contacts[:min(len(contacts), 1)], nil

	var out []string
	named := long
	named.FDBs = nil
	justified := named
	justified.O = ""
	for _, o := range []object{long, named, justified} {
		if t, ok := o.within(fullLimit); ok {
			out = append(out, t)
			break
		}
	}
	for _, o := range []object{short, bare, one, none} {
		// Without contacts and sub-error, clients discard the object (section 5.3 of the draft).
		if t := o.text(); len(t) <= shortLimit && (len(o.C) > 0 || o.S != NoSubError) {
			return append(out, t)
		}
	}
	return out
}

// object is the JSON of the draft, in which empty fields are missing.
type object struct {
	C    []string `json:"c,omitempty"`
	J    string   `json:"j,omitempty"`
	S    SubError `json:"s,omitempty"`
	O    string   `json:"o,omitempty"`
	L    string   `json:"l,omitempty"`
	FDBs []entry  `json:"fdbs,omitempty"`
}

type entry struct {
	DB string `json:"db"`
	ID string `json:"id"`
}

// text is the object in its shortest form.
func (o object) text() string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(o); err != nil {
		panic("extratext: " + err.Error()) // every field has a form in JSON
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// within is text, with the justification cut so that the text has at most limit octets.
func (o object) within(limit int) (string, bool) {
	whole := o.J
	for n := len(whole); n > 0; n-- {
		if o.J = truncate(whole, n); o.J == "" {
			break
		}
		if t := o.text(); len(t) <= limit {
			return t, true
		}
	}
	return "", false
}

// maxContacts is how many contacts of a ban are told.
const maxContacts = 3

// Contacts returns the URIs of a contact as people write it, which are in it with commas or semicolons between: an email address, a URI of the
// scheme mailto or tel, and a telephone number that begins with + and so is understood everywhere (RFC 3966). Clients take no others: what is
// something else is left out. There are at most three, and of each at most 100 octets.
func Contacts(contact string) []string {
	var out []string
	for _, part := range strings.FieldsFunc(contact, func(r rune) bool { return r == ',' || r == ';' }) {
		if uri := contactURI(strings.TrimSpace(part)); uri != "" && len(uri) <= 100 && len(out) < maxContacts {
			out = append(out, uri)
		}
	}
	return out
}

func contactURI(s string) string {
	scheme, rest, _ := strings.Cut(s, ":")
	switch {
	case strings.EqualFold(scheme, "mailto"):
		s = rest
	case strings.EqualFold(scheme, "tel"):
		return telephone(rest)
	case strings.HasPrefix(s, "+"):
		return telephone(s)
	}
	a, err := mail.ParseAddress(s)
	if err != nil || strings.ContainsAny(a.Address, " %?&#\"\\<>[]") || !isASCII(a.Address) {
		return ""
	}
	return "mailto:" + a.Address
}

// telephone is the URI of a number that begins with +; the signs that people put between digits become one.
func telephone(s string) string {
	number, found := strings.CutPrefix(strings.TrimSpace(s), "+")
	fields := strings.FieldsFunc(number, func(r rune) bool { return strings.ContainsRune(" .-()", r) })
	digits := strings.Join(fields, "")
	if !found || len(digits) < 4 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" {
		return ""
	}
	return "tel:+" + strings.Join(fields, "-")
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] > '~' || s[i] < ' ' {
			return false
		}
	}
	return true
}
