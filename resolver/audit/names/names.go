// Package names translates the numbers in a record of a query to the ids of the
// configuration.
package names

import (
	"strings"

	"rideau/blocklists"
	"rideau/blocklists/fingerprint"
)

// Table translates the numbers of groups, bans, lists, exceptions and routes
// of one state of the resolver. It is immutable and small, and refers to nothing
// else, so that a record may keep it after a reload has replaced the policy.
type Table struct {
	groups, bans, lists, routes []string
	servers                     [][]string // by route
	exceptions                  []Exception
	policy                      Policy
}

// Policy says which policy the Table is of.
type Policy struct {
	Generation  uint64 // grows with each change on this server since its start
	Fingerprint string // equal on two servers if the policy is
}

// Exception is what records say of an exception.
type Exception struct {
	ID       string
	Ticket   string // where it was asked for
	Approver string // who approved it
}

// DefaultRoute is the name of the route of all questions without a route of
// their own.
const DefaultRoute = "default"

// New makes the Table of a policy, of routes in addition to the default, and of the
// servers of each, those of the default first. All text is copied: it may be part of a
// whole file.
func New(p *blocklists.Snapshot, routes []string, servers [][]string) *Table {
	t := &Table{routes: []string{DefaultRoute}}
	for _, all := range servers {
		var own []string
		for _, s := range all {
			own = append(own, strings.Clone(s))
		}
		t.servers = append(t.servers, own)
	}
	for _, r := range routes {
		t.routes = append(t.routes, strings.Clone(r))
	}
	return t.WithPolicy(p)
}

// WithPolicy returns the Table of another policy and the same routes.
func (t *Table) WithPolicy(p *blocklists.Snapshot) *Table {
	out := &Table{groups: []string{blocklists.GroupAll}, routes: t.routes, servers: t.servers}
	out.policy = Policy{Generation: p.Generation(), Fingerprint: fingerprint.Of(p)}
	policy := p.Policy()
	for _, g := range policy.Groups {
		out.groups = append(out.groups, strings.Clone(g.ID))
	}
	for _, b := range policy.Bans {
		out.bans = append(out.bans, strings.Clone(b.ID))
	}
	for _, l := range p.Lists() {
		out.lists = append(out.lists, strings.Clone(l.ID))
	}
	for _, x := range policy.Exceptions {
		out.exceptions = append(out.exceptions, Exception{ID: strings.Clone(x.ID), Ticket: strings.Clone(x.Ticket), Approver: strings.Clone(x.Approver)})
	}
	return out
}

// Policy says which policy the Table is of.
func (t *Table) Policy() Policy { return t.policy }

// Group is the id of a client group, [blocklists.GroupAll] for clients of none.
func (t *Table) Group(g blocklists.GroupID) string { return t.groups[g] }

// Ban is the id of a ban, List that of a list, by their index in a verdict.
func (t *Table) Ban(i uint8) string { return t.bans[i] }

// List is the id of a list.
func (t *Table) List(i uint8) string { return t.lists[i] }

// Exception is the exception of a verdict. It must not be written.
func (t *Table) Exception(i uint8) *Exception { return &t.exceptions[i] }

// Route is the name of a route, or [DefaultRoute].
func (t *Table) Route(i uint16) string { return t.routes[i] }

// Server is what operators call a server of a route, whose number is 1 plus its index;
// empty for the number 0.
func (t *Table) Server(route, number uint16) string {
	if number == 0 || int(route) >= len(t.servers) || int(number) > len(t.servers[route]) {
		return ""
	}
	return t.servers[route][number-1]
}
