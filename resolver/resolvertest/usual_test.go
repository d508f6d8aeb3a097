package resolvertest

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// usualUpstream answers in every way in which something banned can be in an
// answer: banned.example and what is below it, 192.0.2.66 and 2001:db8:66::/48.
const usualUpstream = `-- upstream --
cname.example.org A
    answer cname.example.org. 300 IN CNAME www.banned.example.
    answer www.banned.example. 60 IN A 192.0.2.66
addresses.example.org A
    answer addresses.example.org. 300 IN A 192.0.2.1
    answer addresses.example.org. 300 IN A 192.0.2.66
six.example.org AAAA
    answer six.example.org. 300 IN AAAA 2001:db8:66::1
six.example.org A
    authority example.org. 300 IN SOA ns.example.org. host.example.org. 1 3600 600 86400 60
https.example.org HTTPS
    answer https.example.org. 300 IN HTTPS 1 cdn.banned.example. alpn=h2 ipv4hint=192.0.2.66 ech="AEX+DQBBtgAgACDNEkfWZWqBeZ7zzAMRBAkgL4JIDPCYNmQKSpgHgLI9EwAEAAEAAQASY2xvdWRmbGFyZS1lY2guY29tAAA="
https.example.org A
    answer https.example.org. 300 IN A 192.0.2.1
www.banned.example A
    answer www.banned.example. 300 IN A 192.0.2.7
www.banned.example TXT
    answer www.banned.example. 300 IN TXT "a text"
gone.banned.example * NXDOMAIN
    authority banned.example. 300 IN SOA ns.banned.example. host.banned.example. 1 3600 600 86400 60
below.gone.banned.example * NXDOMAIN
    authority banned.example. 300 IN SOA ns.banned.example. host.banned.example. 1 3600 600 86400 60
served.example.org A
    answer served.example.org. 300 IN A 192.0.2.1
    authority example.org. 300 IN NS ns.banned.example.
    additional ns.banned.example. 300 IN A 192.0.2.66
denied.example.org A
    authority example.org. 300 IN SOA ns.banned.example. host.banned.example. 1 3600 600 86400 60
referred.example.org A
    authority example.org. 300 IN NS ns.banned.example.
    additional ns.banned.example. 300 IN A 192.0.2.66
example.org NS
    answer example.org. 300 IN NS ns.banned.example.
    additional ns.banned.example. 300 IN AAAA 2001:db8:66::1
mx.example.org MX
    answer mx.example.org. 300 IN MX 10 mail.banned.example.
    answer mx.example.org. 300 IN MX 20 mail.example.org.
    additional mail.banned.example. 300 IN A 192.0.2.66
_sip._udp.example.org SRV
    answer _sip._udp.example.org. 300 IN SRV 1 1 5060 sip.banned.example.
dname.example.org DNAME
    answer dname.example.org. 300 IN DNAME banned.example.
x.dname.example.org A
    answer dname.example.org. 300 IN DNAME banned.example.
    answer x.dname.example.org. 300 IN CNAME x.banned.example.
    answer x.banned.example. 300 IN A 192.0.2.7
66.2.0.192.in-addr.arpa PTR
    answer 66.2.0.192.in-addr.arpa. 300 IN PTR host.example.org.
fails.banned.example * SERVFAIL
    ede 6 "signature"
refers.example.org A
    answer refers.example.org. 300 IN CNAME fails.banned.example.
large.example.org TXT
    answer large.example.org. 300 IN TXT "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    answer large.example.org. 300 IN TXT "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
    answer large.example.org. 300 IN TXT "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
    authority example.org. 300 IN NS ns.banned.example.
target.example.net A
    answer target.example.net. 60 IN CNAME www.banned.example.
    answer www.banned.example. 60 IN A 192.0.2.66
target.example.net AAAA
    answer target.example.net. 60 IN AAAA 2001:db8:66::1
* * NXDOMAIN
    authority . 300 IN SOA a. b. 1 3600 600 86400 60
-- upstream/corp --
alias.corp.example A -ra
    answer alias.corp.example. 300 IN CNAME www.banned.example.
alias.corp.example TXT -ra
    answer alias.corp.example. 300 IN CNAME www.banned.example.
alias.corp.example CNAME -ra
    answer alias.corp.example. 300 IN CNAME www.banned.example.
gone.corp.example A -ra
    answer gone.corp.example. 300 IN CNAME gone.banned.example.
fails.corp.example A -ra
    answer fails.corp.example. 300 IN CNAME fails.banned.example.
two.corp.example A -ra
    answer two.corp.example. 300 IN CNAME y.lab.example.
far.corp.example * -ra
    answer far.corp.example. 300 IN CNAME target.example.net.
long.corp.example A -ra
    answer long.corp.example. 300 IN CNAME a.banned.example.
    answer a.banned.example. 300 IN CNAME target.example.net.
-- upstream/lab --
y.lab.example A -ra
    answer y.lab.example. 200 IN CNAME www.banned.example.
loop.lab.example A -ra
    answer loop.lab.example. 200 IN CNAME loop2.banned.example.
`

// usualQuestions are asked one after another.
var usualQuestions = strings.Split(`cname.example.org A
addresses.example.org A
six.example.org AAAA
six.example.org A
https.example.org HTTPS
https.example.org A
www.banned.example A
www.banned.example ANY
banned.example NS
gone.banned.example A
below.gone.banned.example TXT
served.example.org A
denied.example.org A
referred.example.org A
example.org NS
mx.example.org MX
_sip._udp.example.org SRV
dname.example.org DNAME
x.dname.example.org A
66.2.0.192.in-addr.arpa PTR
fails.banned.example A
refers.example.org A
large.example.org TXT size=512
large.example.org TXT via=tcp
alias.corp.example A
alias.corp.example TXT
alias.corp.example CNAME
gone.corp.example A
fails.corp.example A
two.corp.example A
far.corp.example A
far.corp.example AAAA
long.corp.example A
loop.lab.example A
www.banned.example A -rd
alias.corp.example A -rd
use-application-dns.net A
unasked.banned.example A -rd`, "\n")

// usualLists are what the bans of the variants are about, in two formats.
const usualLists = `-- lists/none --
none.example
-- lists/names --
banned.example
192.0.2.66
2001:db8:66::/48
use-application-dns.net
-- lists/zone --
$TTL 300
@ SOA localhost. root.localhost. 1 2 3 4 5
banned.example CNAME .
*.banned.example CNAME .
32.66.2.0.192.rpz-ip CNAME .
48.zz.66.db8.2001.rpz-ip CNAME .
ns.banned.example.rpz-nsdname CNAME .
`

// usualVariants are policies under which 127.0.0.1 is answered as if there were no
// ban. With others, clients of other groups have asked before.
var usualVariants = []struct{ name, policy, others string }{
	{"monitor", "list names lists/names\nban b lists=names mode=monitor", ""},
	{"monitored zone", "list zone lists/zone format=rpz\nban b lists=zone action=given mode=monitor", ""},
	{"off", "list names lists/names\nban b lists=names mode=off", ""},
	{"mode of a group", "group me 127.0.0.0/8\ngroup other 10.9.0.0/16\nlist names lists/names\nban b lists=names modes=me:monitor", "10.9.0.1"},
	{"off for a group", "group me 127.0.0.0/8\ngroup other 10.9.0.0/16\nlist names lists/names\nban b lists=names modes=me:off", "10.9.0.1"},
	{"another group", "group other 10.9.0.0/16\nlist names lists/names\nban b lists=names groups=other", "10.9.0.1"},
	{"zone of another group", "group other 10.9.0.0/16\nlist zone lists/zone format=rpz\nban b lists=zone action=given groups=other", "10.9.0.1"},
	{"monitored for another group", "group other 10.9.0.0/16\nlist names lists/names\nban b lists=names groups=other mode=monitor", "10.9.0.1"},
	{"exception", "list names lists/names\nban b lists=names\nexception e lists=names", ""},
	{"exception of a group", "group me 127.0.0.0/8\nlist names lists/names\nban b lists=names\nexception e lists=names groups=me", "10.9.0.1"},
	{"passthru", "list zone lists/zone format=rpz\nban b lists=zone action=passthru", ""},
	{"sinkhole of another group", "group other 10.9.0.0/16\nlist names lists/names\nban b lists=names groups=other sinkhole=192.0.2.99", "10.9.0.1"},
	{"alias of another group", "group other 10.9.0.0/16\nlist names lists/names\nban b lists=names groups=other cname=target.example.net", "10.9.0.1"},
	{"ECH of another group", "group other 10.9.0.0/16\nlist names lists/names\nban b lists=names groups=other strip-ech", "10.9.0.1"},
	{"ECH of a monitored ban", "list names lists/names\nban b lists=names strip-ech mode=monitor", ""},
	{"not yet", "list names lists/names\nban b lists=names effective=2027-01-01T00:00:00Z", ""},
	{"expired", "list names lists/names\nban b lists=names expires=2025-01-01T00:00:00Z", ""},
}

// usualBefore are policies that were in force before the present one, for all
// clients: what they left in the cache changes nothing.
var usualBefore = []struct{ name, policy string }{
	{"names", "list names lists/names\nban b lists=names"},
	{"zone", "list zone lists/zone format=rpz\nban b lists=zone action=given"},
	{"two bans", "group me 127.0.0.0/8\nlist names lists/names\nban a lists=names groups=me\nban b lists=names"},
}

// usualRun answers the questions under a policy, several times: asked, from the
// cache, under all flags, from an upstream that fails.
func usualRun(t *testing.T, before, policy, others string, resolve resolveFunc, set ...func(*run)) []*exchange {
	t.Helper()
	head := "forward corp.example to corp\nforward lab.example to lab\ncache max-stale=24h\npatience attempt=600ms total=1200ms\nsame-case\nlist none lists/none allow-tld\n"
	first := policy
	if before != "" {
		first = before
	}
	text := "A table.\n\n-- policy --\n" + head + first + "\n" + usualLists + usualUpstream + "-- script --\n"
	r := newRun(t, t.Name(), []byte(text))
	r.resolve, r.background = resolve, true // what a group is answered from the cache, another may have to ask for
	for _, f := range set {
		f(r)
	}
	var out []*exchange
	ask := func(q string) {
		t.Helper()
		words := strings.Fields(q)
		if err := r.ask(&line{}, words); err != nil {
			t.Fatal(err)
		}
		r.last.checked = true
		if !strings.Contains(q, "from=") {
			out = append(out, r.last)
		}
	}
	if before != "" {
		for _, q := range usualQuestions {
			ask(q)
		}
		out, r.serial = nil, 0
		r.files["policy"] = file{head + policy, 1}
		if err := r.reload(&line{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, q := range usualQuestions {
		// A failure that comes from the cache says so (RFC 8914 section 4.14).
		if others != "" && !strings.Contains(q, "-rd") && !strings.Contains(q, "fails") && !strings.Contains(q, "refers") { // refers is an alias of fails
			ask(q + " from=" + others)
		} else {
			r.serial++
		}
		ask(q)
	}
	for _, flags := range []string{"", " do", " cd", " -edns", " via=tcp", " ad"} {
		for _, q := range usualQuestions {
			if !strings.Contains(q, "via=") && !strings.Contains(q, "size=") {
				ask(q + flags)
			}
		}
	}
	// Upstreams that fail: what was there is stale.
	r.clock.set(r.clock.Now().Add(1000e9))
	for _, u := range r.upstreams {
		if err := u.load("* * SERVFAIL", 1); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		for _, q := range usualQuestions {
			ask(q)
		}
	}
	return out
}

// TestAnsweredAsUsual: a client that a ban does not stop gets, octet for octet, what
// it would get without the ban: of a ban in monitor mode or off, of one of
// another group, with an exception, out of its dates. Each change from one policy to
// another is tried by one of the ways of resolving; with RIDEAU_FULL=1 by all of them.
func TestAnsweredAsUsual(t *testing.T) {
	ways := []struct {
		name    string
		resolve resolveFunc
		set     []func(*run)
	}{{"goroutine", plainResolve, nil}, {"loop", loopResolve, nil}, {"sockets", plainResolve, []func(*run){socketFront}}}
	for n, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			want := usualRun(t, "", "", "", way.resolve, way.set...)
			same := func(t *testing.T, got []*exchange) {
				t.Helper()
				wrong := 0
				for i, g := range got {
					if w := want[i]; !bytes.Equal(g.out, w.out) && wrong < 5 {
						wrong++
						t.Errorf("%v: got\n%v\nwant\n%v", g.query.Question[0], g, w)
					}
				}
				if len(got) != len(want) {
					t.Errorf("%d answers, want %d", len(got), len(want))
				}
			}
			for _, v := range usualVariants {
				t.Run(strings.ReplaceAll(v.name, " ", "-"), func(t *testing.T) {
					same(t, usualRun(t, "", v.policy, v.others, way.resolve, way.set...))
				})
			}
			for i, b := range usualBefore {
				for k, v := range usualVariants {
					if v.others == "" && ((i+k)%len(ways) == n || os.Getenv("RIDEAU_FULL") == "1") {
						t.Run("before/"+b.name+"/"+strings.ReplaceAll(v.name, " ", "-"), func(t *testing.T) {
							same(t, usualRun(t, b.policy, v.policy, "", way.resolve, way.set...))
						})
					}
				}
			}
		})
	}
}
