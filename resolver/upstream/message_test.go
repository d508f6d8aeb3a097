package upstream_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/upstream"
)

// FuzzAnswers holds the acceptance of responses against what miekg/dns reads
// in them.
func FuzzAnswers(f *testing.F) {
	q := query(f, "www.example.com")
	f.Add(reply(f, q, "text"))
	f.Add(reply(f, q, "", rcode(dns.RcodeServerFailure)))
	f.Add(reply(f, q, "", func(m *dns.Msg) { m.Question, m.Rcode = nil, dns.RcodeFormatError }))
	f.Add(reply(f, q, "", func(m *dns.Msg) { m.Question, m.Rcode = nil, dns.RcodeRefused }))
	f.Add(reply(f, q, "", func(m *dns.Msg) { m.Question[0].Name = "WWW.example.com." }))
	f.Add(q)
	f.Add(q[:20])
	f.Fuzz(func(t *testing.T, resp []byte) {
		with, without := upstream.Answers(q, resp)
		if !with && !without {
			return
		}
		var asked, got dns.Msg
		if err := asked.Unpack(q); err != nil {
			t.Fatal(err)
		}
		// Records may be broken; header and question may not.
		head := append([]byte(nil), resp...)
		clear(head[6:12])
		if err := got.Unpack(head); err != nil && !strings.Contains(err.Error(), "trailing") {
			t.Fatalf("accepted %x, which cannot be read: %v", resp, err)
		}
		if got.Id != asked.Id || !got.Response || got.Opcode != asked.Opcode {
			t.Errorf("accepted %v", got.MsgHdr)
		}
		if without {
			if len(got.Question) != 0 || !slices.Contains([]int{dns.RcodeFormatError, dns.RcodeNotImplemented, dns.RcodeServerFailure, dns.RcodeRefused}, got.Rcode) {
				t.Errorf("accepted without question: %v", &got)
			}
			return
		}
		if len(got.Question) != 1 || !strings.EqualFold(got.Question[0].Name, asked.Question[0].Name) ||
			got.Question[0].Qtype != asked.Question[0].Qtype || got.Question[0].Qclass != asked.Question[0].Qclass {
			t.Errorf("accepted as answer to %v: %v", asked.Question, got.Question)
		}
	})
}
