package resolvertest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

var errNoQuery = errors.New("no query before it")

// aboutAnswer are the expectations about the last answer, by their first word.
func (r *run) aboutAnswer() map[string]func(*exchange, []string) error {
	return map[string]func(*exchange, []string) error{
		"expect": expectHeader, "no-answer": expectNothing, "outcome": r.expectOutcome,
		"no-ede": expectNoEDE, "option": expectOption, "no-option": expectNoOption, "soa": expectSOA,
	}
}

// aboutWorld are the other expectations.
func (r *run) aboutWorld() map[string]func([]string) error {
	return map[string]func([]string) error{
		"upstream-queries": r.expectQueries, "asked": r.expectAsked, "event": r.expectEvent, "no-event": r.expectNoEvent,
		"blocks": r.expectBlocks, "monitored": r.expectMonitored, "cache-entries": r.expectEntries, "settled": r.expectSettled,
	}
}

// expectation returns the check whose first word is word; nil if there is none.
func (r *run) expectation(word string) func([]string) error {
	if f := r.aboutAnswer()[word]; f != nil {
		return func(words []string) error {
			if r.last == nil {
				return errNoQuery
			}
			r.last.checked = true
			return f(r.last, words)
		}
	}
	return r.aboutWorld()[word]
}

// expectHeader is "expect RCODE [FLAG|-FLAG...]".
func expectHeader(x *exchange, words []string) error {
	if len(words) == 0 {
		return errors.New("expect takes a response code")
	}
	m := x.msg
	if m == nil {
		return fmt.Errorf("no answer: %v", x)
	}
	opt := x.edns()
	if got := rcodeString(m); got != words[0] {
		return fmt.Errorf("got %s\n%v", got, x)
	}
	flags := map[string]bool{
		"qr": m.Response, "aa": m.Authoritative, "tc": m.Truncated, "rd": m.RecursionDesired, "ra": m.RecursionAvailable,
		"ad": m.AuthenticatedData, "cd": m.CheckingDisabled, "edns": opt != nil, "do": opt != nil && opt.Do(),
	}
	for _, w := range words[1:] {
		got, ok := flags[strings.TrimPrefix(w, "-")]
		if !ok {
			return fmt.Errorf("unknown flag %q", w)
		}
		if want := !strings.HasPrefix(w, "-"); got != want {
			return fmt.Errorf("%s is not so\n%v", w, x)
		}
	}
	return nil
}

// rcodeString is the name of the response code, from header and OPT record.
func rcodeString(m *dns.Msg) string {
	rcode := m.Rcode
	if rcode == dns.RcodeBadVers {
		return badVers
	}
	return dns.RcodeToString[rcode]
}

// expectNothing is "no-answer".
func expectNothing(x *exchange, _ []string) error {
	if len(x.out) != 0 {
		return fmt.Errorf("got %v", x)
	}
	return nil
}

// expectAll checks consecutive lines that begin with word: together they are
// all that the answer has of it.
func (r *run) expectAll(word string, lines []line) error {
	if r.last == nil {
		return errNoQuery
	}
	x := r.last
	x.checked = true
	if x.msg == nil {
		return fmt.Errorf("no answer: %v", x)
	}
	if word == "ede" {
		return expectEDE(x, lines)
	}
	return expectSection(x, word, lines)
}

// expectSection is lines of "answer RECORD", or of authority or additional,
// or "answer empty": the section's records, in any order, without the OPT
// record.
func expectSection(x *exchange, section string, lines []line) error {
	var want []string
	for _, l := range lines {
		text := strings.TrimSpace(strings.TrimPrefix(l.text, section))
		if text == "empty" && len(lines) == 1 {
			break
		}
		rr, err := parseRecord(text)
		if err != nil {
			return err
		}
		want = append(want, recordString(rr))
	}
	var got []string
	records := map[string][]dns.RR{"answer": x.msg.Answer, "authority": x.msg.Ns, "additional": x.msg.Extra}
	for _, rr := range records[section] {
		if rr.Header().Rrtype != dns.TypeOPT {
			got = append(got, recordString(rr))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("\nwant %s:\n\t%s\ngot:\n\t%s\n%v",
			section, strings.Join(want, "\n\t"), strings.Join(got, "\n\t"), x)
	}
	return nil
}

// recordString is the text by which records are compared.
func recordString(rr dns.RR) string {
	return strings.ToLower(strings.ReplaceAll(rr.String(), "\t", " "))
}

// expectSOA is "soa [OWNER] [ttl=SECONDS]": the authority section is one SOA
// record, and a cache may store the answer for that long.
func expectSOA(x *exchange, words []string) error {
	if x.msg == nil || len(x.msg.Ns) != 1 {
		return fmt.Errorf("got %v", x)
	}
	soa, ok := x.msg.Ns[0].(*dns.SOA)
	if !ok {
		return fmt.Errorf("got %v", x)
	}
	if len(words) > 0 && !strings.Contains(words[0], "=") {
		if fold(soa.Hdr.Name) != fold(words[0]) {
			return fmt.Errorf("got %v", soa)
		}
		words = words[1:]
	}
	return options(words, map[string]func(string) error{
		"ttl": func(s string) error {
			if got := strconv.Itoa(int(min(soa.Hdr.Ttl, soa.Minttl))); got != s {
				return fmt.Errorf("got %v", soa)
			}
			return nil
		},
	})
}

// expectEDE is lines of "ede CODE [TEXT]", in order.
func expectEDE(x *exchange, lines []line) error {
	all := x.ede()
	if len(all) != len(lines) {
		return fmt.Errorf("got %d\n%v", len(all), x)
	}
	for i, l := range lines {
		want, err := parseEDE(l.words[1:])
		if err != nil {
			return err
		}
		if all[i].InfoCode != want.InfoCode || len(l.words) > 2 && all[i].ExtraText != want.ExtraText {
			return fmt.Errorf("got %v\n%v", all[i], x)
		}
	}
	return nil
}

// expectNoEDE is "no-ede".
func expectNoEDE(x *exchange, _ []string) error {
	if len(x.ede()) != 0 {
		return fmt.Errorf("got %v", x)
	}
	return nil
}

// expectNoOption is "no-option CODE".
func expectNoOption(x *exchange, words []string) error {
	if len(words) != 1 {
		return errors.New("no-option takes a code")
	}
	if expectOption(x, words) == nil {
		return fmt.Errorf("got %v", x)
	}
	return nil
}

// expectOption is "option CODE [HEX]": an EDNS option of the answer.
func expectOption(x *exchange, words []string) error {
	opt := x.edns()
	if opt == nil || len(words) == 0 {
		return fmt.Errorf("got %v", x)
	}
	want, err := parseOption(words[0], strings.Join(words[1:], ""))
	if err != nil {
		return err
	}
	data := hex.EncodeToString(want.(*dns.EDNS0_LOCAL).Data)
	for _, o := range opt.Option {
		if o.Option() == want.Option() && optionData(o) == data {
			return nil
		}
	}
	return fmt.Errorf("got %v", x)
}

// optionData is an option's data in hexadecimal.
func optionData(o dns.EDNS0) string {
	m := new(dns.Msg)
	m.Extra = []dns.RR{&dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: []dns.EDNS0{o}}}
	b, err := m.Pack()
	if err != nil {
		return err.Error()
	}
	return hex.EncodeToString(b[12+11+4:]) // header, OPT record, option's code and length
}

// expectOutcome is "outcome KIND [ban=ID] [action=ACTION] [monitored]".
func (r *run) expectOutcome(x *exchange, words []string) error {
	o := x.outcome
	if len(words) == 0 || o.Kind.String() != words[0] {
		return fmt.Errorf("got %v", x)
	}
	var ban, action string
	var monitored bool
	err := options(words[1:], map[string]func(string) error{
		"ban": setString(&ban), "action": setString(&action), "monitored": setBool(&monitored),
	})
	switch got := r.banID(o); {
	case err != nil:
		return err
	case ban != "" && got != ban:
		return fmt.Errorf("got ban %s\n%v", got, x)
	case action != "" && o.Action.String() != action:
		return fmt.Errorf("got action %v\n%v", o.Action, x)
	case monitored != o.Monitored:
		return fmt.Errorf("monitored is %v\n%v", o.Monitored, x)
	}
	return nil
}
