package selftest

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"rideau/blocklists"
)

// judge returns what is wrong with the response to a question; empty if it is the
// ban's. Nil is no response. strict demands the extended error that names the ban;
// by UDP, bounds on the size of responses may leave it out.
func judge(s *blocklists.Snapshot, q *Question, query, response []byte, strict bool) string {
	if q.want.Action == blocklists.Drop {
		if response != nil {
			return "it is answered, and the ban drops it"
		}
		return ""
	}
	if response == nil {
		return "there is no answer"
	}
	var asked, got dns.Msg
	if err := got.Unpack(response); err != nil {
		return "the answer cannot be read: " + err.Error()
	}
	if err := asked.Unpack(query); err != nil || got.Id != asked.Id || !got.Response {
		return "the answer is to another query"
	}
	if problem := byAction(s, q, &got); problem != "" {
		return problem
	}
	ban := s.Ban(q.want.Ban)
	if opt := got.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok && e.InfoCode == ban.EDE && strings.HasPrefix(e.ExtraText, ban.ID) {
				return ""
			}
		}
	}
	if strict {
		return "the answer does not name the ban: no extended error " + fmt.Sprint(ban.EDE)
	}
	return ""
}

// byAction returns in what a response is not as the action of the ban demands.
func byAction(s *blocklists.Snapshot, q *Question, got *dns.Msg) string {
	ban := s.Ban(q.want.Ban)
	rcode, answers := dns.RcodeSuccess, ""
	switch q.want.Action {
	case blocklists.NXDomain:
		rcode = dns.RcodeNameError
	case blocklists.Refuse:
		rcode = dns.RcodeRefused
	case blocklists.Sinkhole:
		if ban.Sinkhole4.IsValid() {
			answers = ban.Sinkhole4.String()
		}
	case blocklists.LocalData:
		return "" // what the records lead to is not known here; the extended error says who decided
	}
	if got.Rcode != rcode {
		return fmt.Sprintf("the answer is %s, and the ban's is %s", dns.RcodeToString[got.Rcode], dns.RcodeToString[rcode])
	}
	var have []string
	for _, rr := range got.Answer {
		if a, ok := rr.(*dns.A); ok {
			have = append(have, a.A.String())
			continue
		}
		have = append(have, rr.String())
	}
	if all := strings.Join(have, ", "); all != answers {
		return fmt.Sprintf("the answer has %q, and the ban's has %q", all, answers)
	}
	return ""
}
