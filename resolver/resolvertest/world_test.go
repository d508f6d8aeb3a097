package resolvertest

import (
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
	"rideau/resolver/audit"
	"rideau/resolver/wire"
)

// banID is the id of the ban of an outcome, or "none".
func (r *run) banID(o resolver.Outcome) string {
	if o.Ban == blocklists.NoBan {
		return "none"
	}
	return r.snapshot.SlotIDs()[o.Ban]
}

// expectQueries is "upstream-queries [UPSTREAM] N": the upstream received N queries
// since the start. Queries that are still to come are waited for.
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

// upstream removes the name of an upstream from the words, if they begin with one.
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
// [options=none]": the last query that an upstream received. The name's
// letter case counts if the policy says same-case.
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
	want, got := dns.Fqdn(words[0]), a.Name
	if !r.policy.sameCase {
		want, got = fold(want), fold(got)
	}
	if got != want || a.Type != qtype {
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
// oldest event that no expectation has named yet.
func (r *run) expectEvent(words []string) error {
	e, ok := r.nextEvent()
	if !ok {
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
	name := wire.NameString(e.Name())
	if fold(name) != fold(words[0]) || dns.TypeToString[uint16(e.Type)] != words[1] ||
		ban != "" && ban != e.Ban || list != "" && list != e.List || client.IsValid() && client != e.Client {
		return fmt.Errorf("got %s %v ban=%s list=%s client=%v", name, e.Type, e.Ban, e.List, e.Client)
	}
	return nil
}

// expectNoEvent is "no-event".
func (r *run) expectNoEvent([]string) error {
	if e, ok := r.nextEvent(); ok {
		return fmt.Errorf("got %s %v ban=%s list=%s", wire.NameString(e.Name()), e.Type, e.Ban, e.List)
	}
	return nil
}

// nextEvent removes the oldest event; ok is false if there is none.
func (r *run) nextEvent() (e audit.Record, ok bool) {
	r.records.Drain()
	r.events.Read(func(rec *audit.Record) { r.unseen = append(r.unseen, *rec) })
	if len(r.unseen) == 0 {
		return e, false
	}
	e, r.unseen = r.unseen[0], r.unseen[1:]
	return e, true
}

// expectBlocks is "blocks BAN N": a ban stopped N queries.
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

// expectMonitored is "monitored BAN N": a ban in monitor mode would have stopped N
// queries.
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

// expectSettled is "settled": no background refresh is under way.
func (r *run) expectSettled([]string) error {
	for range 500 {
		if r.resolver.Exchanges().Refreshing() == 0 {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("it does not end")
}

// expectEntries is "cache-entries N".
func (r *run) expectEntries(words []string) error {
	if got := strconv.Itoa(r.cache.Stats().Entries); len(words) != 1 || got != words[0] {
		return fmt.Errorf("got %s", got)
	}
	return nil
}
