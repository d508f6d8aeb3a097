// Package fleet asks several servers which policy they enforce, and says whether
// they agree.
//
// A server is asked by DNS, as its clients ask it, for the TXT records of
// policy.rideau in class CH; or by HTTP, where its operators may, for /version,
// which also says which lists and bans it has. The DNS library's client does the
// asking: nothing here is on the way of a query.
package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Policy is what a server says of its policy.
type Policy struct {
	// Fingerprint is the same on all servers with the same policy.
	Fingerprint string `json:"fingerprint"`
	// Generation counts the policy's changes on this server since its start.
	Generation uint64 `json:"generation"`
	// Version, Bans and Lists are known if the server was asked by HTTP. Bans
	// are modes, and Lists digests of contents, by id.
	Version string            `json:"version,omitempty"`
	Bans    map[string]string `json:"bans,omitempty"`
	Lists   map[string]string `json:"lists,omitempty"`
}

// Node is a server, and what it says, or why it is not known.
type Node struct {
	Host   string  `json:"host"`
	Policy *Policy `json:"policy,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// DefaultTimeout is how long one server has.
const DefaultTimeout = 5 * time.Second

// Options are how servers are asked.
type Options struct {
	// Timeout is how long one server has; 0 is DefaultTimeout.
	Timeout time.Duration
	// Token is sent by HTTP; empty: none is.
	Token string
}

// atOnce is how many servers are asked at a time.
const atOnce = 16

// Ask asks all hosts, and returns what each says, in their order. A host is an
// address or a name, with or without a port, that is asked by DNS, or a URL of
// the operators' HTTP.
func Ask(ctx context.Context, hosts []string, o Options) []Node {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	out := make([]Node, len(hosts))
	var wait sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i, h := range hosts {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(ctx, o.Timeout)
			defer cancel()
			out[i].Host = h
			p, err := ask(ctx, h, o.Token)
			if out[i].Policy = p; err != nil {
				out[i].Policy, out[i].Error = nil, err.Error()
			}
		})
	}
	wait.Wait()
	return out
}

func ask(ctx context.Context, host, token string) (*Policy, error) {
	if strings.HasPrefix(host, "http://") || strings.HasPrefix(host, "https://") {
		return byHTTP(ctx, strings.TrimSuffix(host, "/"), token)
	}
	to, err := address(host)
	if err != nil {
		return nil, err
	}
	return byDNS(ctx, to)
}

// address adds the port of DNS to a host that has none.
func address(host string) (string, error) {
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.Count(bare, ":") > 1 && !strings.Contains(bare, "]") || !strings.Contains(host, ":") {
		return net.JoinHostPort(bare, "53"), nil
	}
	name, port, err := net.SplitHostPort(host)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || name == "" {
		return "", fmt.Errorf("%q is no server: write an address or a name, such as 192.0.2.1, [2001:db8::1]:53 or dns1.example, or http://ADDRESS:PORT", host)
	}
	return host, nil
}

// tries is how often a server is asked by UDP within the time it has.
const tries = 3

func byDNS(ctx context.Context, to string) (*Policy, error) {
	q := new(dns.Msg).SetQuestion("policy.rideau.", dns.TypeTXT)
	q.Question[0].Qclass = dns.ClassCHAOS
	end, _ := ctx.Deadline()
	c := dns.Client{Timeout: max(time.Until(end)/tries, time.Millisecond)}
	var got *dns.Msg
	var err error
	for range tries {
		if got, _, err = c.ExchangeContext(ctx, q, to); err == nil && got.Truncated {
			c.Net = "tcp"
			got, _, err = c.ExchangeContext(ctx, q, to)
		}
		var timeout net.Error
		if err == nil || !errors.As(err, &timeout) || !timeout.Timeout() {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if got.Rcode != dns.RcodeSuccess {
		return nil, fmt.Errorf("%s: it is no Rideau that knows policy.rideau, or this machine is not in its clients.allow", dns.RcodeToString[got.Rcode])
	}
	p := new(Policy)
	for _, rr := range got.Answer {
		t, ok := rr.(*dns.TXT)
		if !ok || t.Hdr.Class != dns.ClassCHAOS {
			continue
		}
		key, value, _ := strings.Cut(strings.Join(t.Txt, ""), "=")
		switch key {
		case "fingerprint":
			p.Fingerprint = value
		case "generation":
			if p.Generation, err = strconv.ParseUint(value, 10, 64); err != nil {
				return nil, fmt.Errorf("the generation %q is no number", value)
			}
		}
	}
	if p.Fingerprint == "" {
		return nil, errors.New("the answer has no fingerprint: it is no Rideau")
	}
	return p, nil
}

// maxReply is how many octets of a reply by HTTP are read.
const maxReply = 4 << 20

func byHTTP(ctx context.Context, base, token string) (*Policy, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/version", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	// A proxy of the environment could not reach this machine's loopback, and a
	// redirect could carry the token elsewhere.
	client := http.Client{Transport: &http.Transport{Proxy: nil}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		first, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		return nil, fmt.Errorf("HTTP %d: %s", resp.StatusCode, first)
	}
	var v struct {
		Version     string
		Fingerprint string
		Generation  uint64
		Bans        []struct{ ID, Mode string }
		Lists       []struct{ ID, SHA256 string }
	}
	if err := json.Unmarshal(text, &v); err != nil || v.Fingerprint == "" {
		return nil, errors.New("the reply has no fingerprint: it is no Rideau, or it has no policy yet")
	}
	p := &Policy{Fingerprint: v.Fingerprint, Generation: v.Generation, Version: v.Version, Bans: map[string]string{}, Lists: map[string]string{}}
	for _, b := range v.Bans {
		p.Bans[b.ID] = b.Mode
	}
	for _, l := range v.Lists {
		p.Lists[l.ID] = l.SHA256
	}
	return p, nil
}

// Result is the comparison of servers.
type Result struct {
	Nodes []Node `json:"nodes"`
	// Policies are the different fingerprints, the commonest one first, and by
	// name among equals.
	Policies []Group `json:"policies"`
	// Differences say in which bans and lists servers differ, as far as they
	// tell.
	Differences []string `json:"differences,omitempty"`
	Unknown     int      `json:"unknown"` // servers that did not say
}

// Group is the servers that have the same policy.
type Group struct {
	Fingerprint string   `json:"fingerprint"`
	Hosts       []string `json:"hosts"`
}

// Drift reports whether two servers have different policies.
func (r *Result) Drift() bool { return len(r.Policies) > 1 }

// Compare compares what servers said.
func Compare(nodes []Node) *Result {
	r := &Result{Nodes: nodes}
	for _, n := range nodes {
		if n.Policy == nil {
			r.Unknown++
			continue
		}
		i := slices.IndexFunc(r.Policies, func(g Group) bool { return g.Fingerprint == n.Policy.Fingerprint })
		if i < 0 {
			i = len(r.Policies)
			r.Policies = append(r.Policies, Group{Fingerprint: n.Policy.Fingerprint})
		}
		r.Policies[i].Hosts = append(r.Policies[i].Hosts, n.Host)
	}
	slices.SortStableFunc(r.Policies, func(a, b Group) int {
		if d := len(b.Hosts) - len(a.Hosts); d != 0 {
			return d
		}
		return strings.Compare(a.Fingerprint, b.Fingerprint)
	})
	r.differences("ban", func(p *Policy) map[string]string { return p.Bans })
	r.differences("list", func(p *Policy) map[string]string { return p.Lists })
	return r
}

// differences adds how servers that tell details differ in one kind of them.
func (r *Result) differences(kind string, of func(*Policy) map[string]string) {
	ids := map[string]bool{}
	for _, n := range r.Nodes {
		if n.Policy != nil {
			for id := range of(n.Policy) {
				ids[id] = true
			}
		}
	}
	sorted := make([]string, 0, len(ids))
	for id := range ids {
		sorted = append(sorted, id)
	}
	slices.Sort(sorted)
	for _, id := range sorted {
		var values []string
		hosts := map[string][]string{}
		for _, n := range r.Nodes {
			if n.Policy == nil || of(n.Policy) == nil {
				continue
			}
			v, ok := of(n.Policy)[id]
			switch {
			case !ok:
				v = "absent"
			case len(v) > 12:
				v = v[:12]
			}
			if hosts[v] == nil {
				values = append(values, v)
			}
			hosts[v] = append(hosts[v], n.Host)
		}
		if len(values) < 2 {
			continue
		}
		var parts []string
		for _, v := range values {
			parts = append(parts, v+" on "+strings.Join(hosts[v], ", "))
		}
		r.Differences = append(r.Differences, kind+" "+id+": "+strings.Join(parts, "; "))
	}
}

// Write writes the comparison for people.
func (r *Result) Write(w io.Writer) {
	for _, n := range r.Nodes {
		if n.Policy == nil {
			fmt.Fprintf(w, "%s: unknown: %s\n", n.Host, n.Error)
			continue
		}
		version := ""
		if n.Policy.Version != "" {
			version = ", version " + n.Policy.Version
		}
		fmt.Fprintf(w, "%s: policy %.16s, generation %d%s\n", n.Host, n.Policy.Fingerprint, n.Policy.Generation, version)
	}
	switch {
	case r.Drift():
		fmt.Fprintf(w, "DRIFT: %d different policies\n", len(r.Policies))
		for _, g := range r.Policies {
			fmt.Fprintf(w, "  %.16s on %s\n", g.Fingerprint, strings.Join(g.Hosts, ", "))
		}
		for _, d := range r.Differences {
			fmt.Fprintf(w, "  %s\n", d)
		}
	case len(r.Policies) == 1 && len(r.Policies[0].Hosts) > 1:
		fmt.Fprintf(w, "all %d that answered have the same policy\n", len(r.Policies[0].Hosts))
	}
	if r.Unknown > 0 {
		fmt.Fprintf(w, "%d of %d did not say which policy they have\n", r.Unknown, len(r.Nodes))
	}
}
