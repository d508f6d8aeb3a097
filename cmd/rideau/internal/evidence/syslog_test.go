package evidence_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"rideau/cmd/rideau/internal/evidence"
	config "rideau/config/evidence"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
)

// TestSyslog: each sink of a configuration is a server of its own. One that is not
// there keeps its events in its spool, and the others get theirs.
func TestSyslog(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	e := evidence.New("ottawa-1", t.TempDir(), evidence.Options{Records: audit.New(), Version: "1"})
	sink := config.Sink{Kind: config.Syslog, Events: config.Banned, Clients: config.Address, Sample: 1, Format: config.Rideau, Facility: "local3", Enterprise: 99, MaxMessage: 2048}
	alive, dead := sink, sink
	alive.ID, alive.Address = "alive", "udp://"+udp.LocalAddr().String()
	dead.ID, dead.Address, dead.Spool = "dead", "tcp://"+gone.Addr().String(), 1<<20
	c, err := e.Prepare(config.Evidence{Sinks: []config.Sink{dead, alive}})
	if err != nil {
		t.Fatal(err)
	}
	c.Commit()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	e.Acts().Add(act.Act{Kind: act.Flush, Time: time.Unix(1700000000, 0)})
	var b [4096]byte
	udp.SetReadDeadline(time.Now().Add(time.Minute))
	n, _, err := udp.ReadFrom(b[:])
	if err != nil {
		t.Fatal(err)
	}
	got := string(b[:n])
	if !strings.HasPrefix(got, "<157>1 2023-11-14T22:13:20.000000Z ottawa-1 rideau ") || !strings.Contains(got, " flush [rideau@99 id=") || !strings.HasSuffix(got, "}") {
		t.Errorf("the server got %q", got)
	}
	for end := time.Now().Add(time.Minute); e.Stats()[0].Waiting != 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the sink without a server: %+v", e.Stats()[0])
		}
	}
	cancel()
	<-done
	if st := e.Stats()[1]; st.Kept != 1 || st.Offered != 1 {
		t.Errorf("the sink with a server: %+v", st)
	}
	// What is wrong with files is said before anything is in force.
	bad := sink
	bad.ID, bad.Address, bad.CAFile = "bad", "tls://127.0.0.1:6514", "no-such-file.pem"
	if _, err := e.Prepare(config.Evidence{Sinks: []config.Sink{bad}}); err == nil || !strings.Contains(err.Error(), "sink bad: ca_file: open no-such-file.pem") {
		t.Errorf("got %v", err)
	}
}
