package resolvertest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// recorder is a testing.TB whose failures are recorded.
type recorder struct {
	testing.TB
	mu   sync.Mutex // guards errs
	errs []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	r.errs = append(r.errs, fmt.Sprintf(format, args...))
	r.mu.Unlock()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// runText runs a scenario and returns its failures.
func runText(t *testing.T, text string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.txtar")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runFile(r, path, plainResolve)
	}()
	<-done
	for i, e := range r.errs {
		r.errs[i] = strings.TrimPrefix(e, path+":")
	}
	return r.errs
}

// common is the start of the scenarios below. Line 17 is the first of the script.
const common = `A comment.

-- policy --
list names lists/names.txt
ban ca-test lists=names ede=16
-- lists/names.txt --
banned.example
-- upstream --
www.example.org A
    answer www.example.org. 300 IN A 192.0.2.1
gone.example.org A NXDOMAIN
    authority example.org. 300 IN SOA ns.example.org. host.example.org. 1 3600 600 86400 300
dead.example.org A SERVFAIL
    ede 6 "bogus"
# End of upstream.
-- script --
`

const (
	www    = "query www.example.org A\n"
	banned = "query banned.example A\n"
)

// failing are scripts that must fail after common, with the line and a part of
// the first failure.
var failing = []struct{ script, line, want string }{
	{www + "expect NXDOMAIN", "18", "got NOERROR"},
	{www + "expect NOERROR aa", "18", "aa is not so"},
	{www + "expect NOERROR -ra", "18", "-ra is not so"},
	{www + "answer www.example.org. 299 IN A 192.0.2.1", "18", "300 in a"},
	{www + "answer www.example.org. 300 IN A 192.0.2.2", "18", "192.0.2.1"},
	{www + "answer empty", "18", "got:"},
	{www + "answer www.example.org. 300 IN A 192.0.2.1\nanswer www.example.org. 300 IN A 192.0.2.2", "18", "got:"},
	{www + "authority example.org. 300 IN NS ns.example.org.", "18", "got:"},
	{www + "soa", "18", "NOERROR"},
	{www + "ede 15", "18", "got 0"},
	{www + "no-answer", "18", "NOERROR"},
	{www + "option 8", "18", "NOERROR"},
	{www + "outcome cached", "18", "outcome forwarded"},
	{www + "outcome forwarded ban=ca-test", "18", "got ban none"},
	{www + "outcome forwarded monitored", "18", "monitored is false"},
	{www + "outcome forwarded\nupstream-queries 0", "19", "got 1"},
	{www + "outcome forwarded\nasked www.example.org AAAA", "19", "www.example.org"},
	{www + "outcome forwarded\nasked www.example.org A do", "19", "do is not so"},
	{www + "outcome forwarded\nasked ww.example.org A", "19", "Name:"},
	{www + "outcome forwarded\nevent www.example.org A", "19", "there is none"},
	{www + "outcome forwarded\ncache-entries 2", "19", "got 1"},
	{banned + "expect NOERROR", "18", "got NXDOMAIN"},
	{banned + "expect NXDOMAIN ad", "18", "ad is not so"},
	{banned + "soa example", "18", "banned.example."},
	{banned + "soa ttl=61", "18", "60"},
	{banned + "ede 15", "18", "16"},
	{banned + `ede 16 "other"`, "18", "ca-test"},
	{banned + "ede 16\nede 3", "18", "got 1"},
	{banned + "no-ede", "18", "16"},
	{banned + "outcome blocked ban=other", "18", "got ban ca-test"},
	{banned + "outcome blocked action=drop", "18", "got action nxdomain"},
	{banned + "outcome blocked\nblocks ca-test 2", "19", "got 1"},
	{banned + "outcome blocked\nmonitored ca-test 1", "19", "got 0"},
	{banned + "outcome blocked\nblocks other 1", "19", "no such ban"},
	// Scripts with something missing, or without meaning.
	{www, "17", "nothing is expected"},
	{"query www.example.net A\nexpect REFUSED", "18", "got SERVFAIL"},
	{"query www.example.net A\nexpect SERVFAIL", "0", "does not answer"},
	{"upstream hold\nstart a www.example.org A", "18", "never awaited"},
	{"start a banned.example A", "17", "use query"},
	{"await a", "17", "was started"},
	{"expect NOERROR", "17", "no query before it"},
	{"answer empty", "17", "no query before it"},
	{"quary www.example.org A", "17", `unknown word "quary"`},
	{"query www.example.org", "17", "a query is"},
	{"query www.example.org B", "17", `unknown type "B"`},
	{"query www.example.org A x=y", "17", `unknown option "x=y"`},
	{"query www.example.org A from=x", "17", "from=x"},
	{"send 0g", "17", "invalid byte"},
	{"wait x", "17", "invalid duration"},
	{"upstream sideways", "17", "unknown"},
	{"upstream other down", "17", "takes the name"},
	{"write upstream/other\n    * A", "17", "no upstream other"},
	{"write upstream\n    * A\n    x", "19", "a question is"},
	{"write upstream\n    * A\n        answer www.example.org. 300 IN A x", "19", "bad A"},
	{"write policy\n    bann x\nreload", "18", "bann"},
	{"write policy\n    ban\nreload", "18", "says nothing"},
	{"write policy\n    upstreams other\nreload", "19", "no file upstream/other"},
	{"reload fails x", "17", "it succeeded"},
	{"write lists/names.txt\n    # none\nreload", "19", "no entries"},
	{"write lists/names.txt\n    # none\nreload fails other", "19", "no entries"},
	{`query "www.example.org A`, "17", "without its other"},
	{"    indented", "17", "nothing above"},
}

// TestFailing: an expectation that does not hold fails its scenario, with its line
// and what was received. Otherwise every scenario would pass.
func TestRunFails(t *testing.T) {
	for _, c := range failing {
		errs := runText(t, common+c.script+"\n")
		if len(errs) == 0 {
			t.Errorf("%q passed; want a failure with %q", c.script, c.want)
			continue
		}
		line, text, _ := strings.Cut(errs[0], ":")
		if line != c.line || !strings.Contains(text, c.want) {
			t.Errorf("%q: got %s:%s\nwant line %s and %q", c.script, line, text, c.line, c.want)
		}
	}
}

func TestRunPasses(t *testing.T) {
	errs := runText(t, common+`
query www.example.org A
expect NOERROR

query dead.example.org A # a comment
expect SERVFAIL
`)
	if len(errs) != 0 {
		t.Errorf("got %q", errs)
	}
}

func TestRunNeedsFiles(t *testing.T) {
	errs := runText(t, "-- script --\n")
	if len(errs) != 1 || !strings.Contains(errs[0], `no file "policy"`) {
		t.Errorf("got %q", errs)
	}
	errs = runText(t, "-- policy --\n-- script --\n")
	if len(errs) != 1 || !strings.Contains(errs[0], "no file upstream/main") {
		t.Errorf("got %q", errs)
	}
}
