package syslog_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rideau/resolver/audit/act"
	"rideau/resolver/audit/dial"
	"rideau/resolver/audit/sink"
	"rideau/resolver/audit/syslog"
	"rideau/resolver/resolvertest"
)

// rsyslog is a real rsyslogd that takes messages over TLS from clients with a
// certificate.
type rsyslog struct {
	t       *testing.T
	dir     string
	address string
	cmd     *exec.Cmd
}

func newRsyslog(t *testing.T, a *authority, driver string) *rsyslog {
	t.Helper()
	r := &rsyslog{t: t, dir: t.TempDir()}
	r.address = resolvertest.FreeAddress(t).String()
	certFile, keyFile, _ := a.issue("siem.example")
	_, port, _ := net.SplitHostPort(r.address)
	text := fmt.Sprintf(`global(workDirectory="%s" maxMessageSize="16k" defaultNetstreamDriverCAFile="%s" defaultNetstreamDriverCertFile="%s" defaultNetstreamDriverKeyFile="%s")
module(load="imtcp" StreamDriver.Name="%s" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
template(name="whole" type="string" string="%%msgid%% %%structured-data%% %%msg:4:$%%\n")
action(type="omfile" file="%s" template="whole")
input(type="imtcp" address="127.0.0.1" port="%s")
`, r.dir, a.ca(), certFile, keyFile, driver, filepath.Join(r.dir, "out"), port)
	if err := os.WriteFile(filepath.Join(r.dir, "rsyslog.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r.cmd != nil {
			r.kill()
		}
		if t.Failed() {
			said, _ := os.ReadFile(filepath.Join(r.dir, "said"))
			t.Logf("rsyslogd said: %.2000s", said)
		}
	})
	return r
}

func (r *rsyslog) start() {
	r.t.Helper()
	said, err := os.OpenFile(filepath.Join(r.dir, "said"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	defer said.Close()
	os.Remove(filepath.Join(r.dir, "pid"))
	r.cmd = exec.Command("rsyslogd", "-n", "-f", filepath.Join(r.dir, "rsyslog.conf"), "-i", filepath.Join(r.dir, "pid"))
	r.cmd.Stdout, r.cmd.Stderr = said, said
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
}

// kill ends it with SIGKILL.
func (r *rsyslog) kill() {
	r.cmd.Process.Kill()
	r.cmd.Wait() // it was killed
	r.cmd = nil
}

// ids returns the events in the file that it writes, by their number.
func (r *rsyslog) ids() map[int]bool {
	text, err := os.ReadFile(filepath.Join(r.dir, "out"))
	if err != nil {
		return nil
	}
	line := regexp.MustCompile(`^flush \[rideau@32473 id="run-a(\d+)" outcome="done" object="a\\"\\\\\\\]b" way="http"\] (\{.*\})$`)
	out := map[int]bool{}
	for l := range strings.Lines(string(text)) {
		if !strings.HasSuffix(l, "\n") {
			continue // it is being written, or was when it was killed
		}
		m := line.FindStringSubmatch(strings.TrimSuffix(l, "\n"))
		var event map[string]any
		if m == nil || json.Unmarshal([]byte(m[2]), &event) != nil || event["id"] != "run-a"+m[1] || event["object"] != `a"\]b` {
			if !strings.Contains(l, "[rideau@32473") {
				continue // of rsyslogd itself
			}
			r.t.Fatalf("rsyslogd wrote %q", l)
		}
		n := 0
		fmt.Sscan(m[1], &n)
		out[n] = true
	}
	return out
}

// Two real servers over TLS, one of which is killed under load for a while, both
// have every event at the end.
func TestRsyslog(t *testing.T) {
	if _, err := exec.LookPath("rsyslogd"); err != nil {
		if os.Getenv("RIDEAU_CI") != "" {
			t.Fatal("rsyslogd is not there; the step peers installs it")
		}
		t.Skip("rsyslogd is not there")
	}
	drivers := map[string]bool{}
	for _, d := range []string{"ossl", "gtls"} {
		found, _ := filepath.Glob("/usr/lib/*/rsyslog/lmnsd_" + d + ".so")
		drivers[d] = len(found) > 0
	}
	first, second := "ossl", "gtls"
	if !drivers[second] {
		second = first
	}
	if !drivers[first] {
		t.Skip("the package rsyslog-openssl is not there")
	}
	a := newAuthority(t)
	certFile, keyFile, _ := a.issue("rideau.example")
	acts := act.New()
	servers := []*rsyslog{newRsyslog(t, a, first), newRsyslog(t, a, second)}
	var sinks []*sink.Sink
	var ends []func()
	for _, s := range servers {
		s.start()
		k, end := runWith(t, stream(t, dial.Options{Network: "tls", Address: s.address, Name: "siem.example", CAFile: a.ca(), Certificate: certFile, Key: keyFile}), acts, messages())
		sinks, ends = append(sinks, k), append(ends, end)
	}
	n := 0
	load := func() {
		for range 2000 {
			acts.Add(act.Act{Kind: act.Flush, Object: `a"\]b`, Actor: act.Actor{Way: act.ByHTTP}})
		}
		n += 2000
		for _, k := range sinks {
			until(t, "the sinks have read them", func() bool { st := k.Stats(); return st.Offered-st.Repeated >= uint64(n) })
		}
	}
	load()
	until(t, "the first events arrive", func() bool { return len(servers[0].ids()) > 0 && len(servers[1].ids()) > 0 })
	load()
	servers[1].kill()
	load()
	until(t, "the sink notices", func() bool { return sinks[1].Stats().Waiting >= 1000 })
	until(t, "the other server has all", func() bool { return len(servers[0].ids()) == n })
	servers[1].start()
	load()
	for i, s := range servers {
		until(t, "the server has all", func() bool { return len(s.ids()) == n })
		ends[i]()
		whole(t, sinks[i], n)
	}
	if st := sinks[0].Stats(); st.Repeated != 0 {
		t.Errorf("the server that went on: %+v", st)
	}
}

// messages makes the messages of acts.
func messages() *syslog.Encoder { return encoderOf("run", 8192) }
