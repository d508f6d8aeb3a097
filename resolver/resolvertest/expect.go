package resolvertest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/resolver"
)

var errNoQuery = errors.New("no query before it")

// expectation is what checks an expectation that begins with word; nil if
// none does.
func (r *run) expectation(word string) func([]string) error {
	// About the last answer.
	if f := map[string]func(*exchange, []string) error{
		"expect": expectHeader, "no-answer": expectNothing, "outcome": r.expectOutcome,
		"no-ede": expectNoEDE, "option": expectOption, "soa": expectSOA,
	}[word]; f != nil {
		return func(words []string) error {
			if r.last == nil {
				return errNoQuery
			}
			r.last.checked = true
			return f(r.last, words)
		}
	}
	// About the rest of the world.
	return map[string]func([]string) error{
		"upstream-queries": r.expectQueries, "asked": r.expectAsked, "event": r.expectEvent, "no-event": r.expectNoEvent,
		"blocks": r.expectBlocks, "monitored": r.expectMonitored, "cache-entries": r.expectEntries,
	}[word]
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

// rcodeString is the whole response code, of header and OPT record.
func rcodeString(m *dns.Msg) string {
	rcode := m.Rcode
	if rcode == dns.RcodeBadVers {
		return "BADVERS" // the library's name for 16 is BADSIG, of TSIG
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

// expectAll is about the lines in a row that begin with word: together they
// are all that the answer has of it.
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

// recordString is a record as it is compared.
func recordString(rr dns.RR) string {
	return strings.ToLower(strings.ReplaceAll(rr.String(), "\t", " "))
}

// expectSOA is "soa [OWNER] [ttl=SECONDS]": the authority section is one SOA
// record, and a cache may keep the answer for so long.
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

// banID is the ban of an outcome, or "none".
func (r *run) banID(o resolver.Outcome) string {
	if o.Ban == blocklists.NoBan {
		return "none"
	}
	return r.snapshot.SlotIDs()[o.Ban]
}

// expectQueries is "upstream-queries [UPSTREAM] N": so many questions were
// asked since the start. Those that are yet to come are given time.
func (r *run) expectQueries(words []string) error {
	u, words, err := r.upstream(words)
	if err != nil {
		return err
	}
	if len(words) != 1 {
		return errors.New("upstream-queries takes a number")
	}
	want, err := strconv.Atoi(words[0])
	if err != nil {
		return err
	}
	for range 500 {
		if len(u.Queries()) >= want {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := u.Queries(); len(got) != want {
		return fmt.Errorf("got %d: %v", len(got), got)
	}
	return nil
}

// upstream takes the name of an upstream off the words, if it stands there.
func (r *run) upstream(words []string) (*Upstream, []string, error) {
	if len(words) > 0 && r.upstreams[words[0]] != nil {
		return r.upstreams[words[0]], words[1:], nil
	}
	if u := r.upstreams["main"]; u != nil {
		return u, words, nil
	}
	return nil, nil, errors.New("no upstream main")
}

// expectAsked is "asked [UPSTREAM] NAME TYPE [FLAG|-FLAG...] [size=N]
// [options=none]": the last question that an upstream heard. The name's
// letter case counts.
func (r *run) expectAsked(words []string) error {
	u, words, err := r.upstream(words)
	if err != nil {
		return err
	}
	all := u.Queries()
	if len(words) < 2 || len(all) == 0 {
		return fmt.Errorf("asked so far: %v", all)
	}
	a := all[len(all)-1]
	qtype, err := parseType(words[1])
	if err != nil {
		return err
	}
	if a.Name != dns.Fqdn(words[0]) || a.Type != qtype {
		return fmt.Errorf("got %+v", a)
	}
	flags := map[string]bool{
		"rd": a.RD, "ad": a.AD, "cd": a.CD, "edns": a.EDNS, "do": a.DO,
		"udp": a.Transport == "udp", "tcp": a.Transport == "tcp",
		"options=none":                         len(a.Options) == 0,
		"size=" + strconv.Itoa(int(a.UDPSize)): true,
	}
	for _, w := range words[2:] {
		if got := flags[strings.TrimPrefix(w, "-")]; got == strings.HasPrefix(w, "-") {
			return fmt.Errorf("%s is not so: %+v", w, a)
		}
	}
	return nil
}

// expectEvent is "event NAME TYPE [ban=ID] [list=ID] [client=ADDRESS]": the
// oldest event that no expectation took yet.
func (r *run) expectEvent(words []string) error {
	var e resolver.Event
	select {
	case e = <-r.resolver.Events():
	default:
		return errors.New("there is none")
	}
	if len(words) < 2 {
		return errors.New("event takes NAME TYPE")
	}
	var ban, list string
	var client netip.Addr
	if err := options(words[2:], map[string]func(string) error{
		"ban": setString(&ban), "list": setString(&list), "client": setAddr(&client),
	}); err != nil {
		return err
	}
	if fold(e.Name()) != fold(words[0]) || dns.TypeToString[uint16(e.Type)] != words[1] ||
		ban != "" && ban != e.Ban || list != "" && list != e.List || client.IsValid() && client != e.Client {
		return fmt.Errorf("got %s %v ban=%s list=%s client=%v", e.Name(), e.Type, e.Ban, e.List, e.Client)
	}
	return nil
}

// expectNoEvent is "no-event".
func (r *run) expectNoEvent([]string) error {
	select {
	case e := <-r.resolver.Events():
		return fmt.Errorf("got %s %v ban=%s list=%s", e.Name(), e.Type, e.Ban, e.List)
	default:
		return nil
	}
}

// expectBlocks is "blocks BAN N": so many queries were stopped by a ban.
func (r *run) expectBlocks(words []string) error {
	total := r.resolver.Stats().Totals()
	return r.expectCount(words, func(s blocklists.Slot) uint64 {
		n := uint64(0)
		for _, c := range total.Blocks[s] {
			n += c
		}
		return n
	})
}

// expectMonitored is "monitored BAN N": so many queries would have been
// stopped by a ban, were it enforced.
func (r *run) expectMonitored(words []string) error {
	total := r.resolver.Stats().Totals()
	return r.expectCount(words, func(s blocklists.Slot) uint64 { return total.Monitor[s] })
}

func (r *run) expectCount(words []string, count func(blocklists.Slot) uint64) error {
	if len(words) != 2 {
		return errors.New("takes a ban and a number")
	}
	slot := slices.Index(r.snapshot.SlotIDs(), words[0])
	if slot < 0 {
		return errors.New("no such ban")
	}
	if got := strconv.FormatUint(count(blocklists.Slot(slot)), 10); got != words[1] {
		return fmt.Errorf("got %s", got)
	}
	return nil
}

// expectEntries is "cache-entries N".
func (r *run) expectEntries(words []string) error {
	if got := strconv.Itoa(r.cache.Stats().Entries); len(words) != 1 || got != words[0] {
		return fmt.Errorf("got %s", got)
	}
	return nil
}
