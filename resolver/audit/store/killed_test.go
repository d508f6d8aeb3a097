package store_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"rideau/resolver/audit/act"
	"rideau/resolver/audit/inforce"
	"rideau/resolver/audit/store"
)

// TestKilled: a kill loses no event that was taken, leaves no half batch, and the
// next start says since when nothing was known.
func TestKilled(t *testing.T) {
	const variable = "RIDEAU_TEST_STORE"
	if dir := os.Getenv(variable); dir != "" {
		n := newNode(t, dir, "r1", began)
		n.write(n.act(act.Start, "no-chat enforce"))
		for i := 0; ; i++ {
			var lines [][]byte
			for range 20 {
				lines = append(lines, n.query("no-chat", "192.0.2.1", fmt.Sprintf("n%d.chat.example", i)))
			}
			n.write(lines...)
			n.pass(30 * time.Second)
			n.settle(false)
			fmt.Println("taken", 20*(i+1))
		}
	}
	t.Parallel()
	dir := t.TempDir()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
	c.Env = append(os.Environ(), variable+"="+dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	taken, killed := 0, false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "taken "); ok {
			taken, _ = strconv.Atoi(text)
		}
		if taken >= 400 && !killed {
			killed = true
			c.Process.Kill()
		}
	}
	c.Wait()
	if taken < 400 {
		t.Fatalf("only %d events were taken", taken)
	}
	later := began.Add(48 * time.Hour)
	n := newNode(t, dir, "r2", later)
	n.write(n.act(act.Start, "no-chat enforce"))
	events, hours := n.scan("SELECT count(*) FROM events"), n.scan("SELECT sum(events) FROM hours")
	if events < int64(taken) || events%20 != 0 || hours != events || n.scan("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'") != 0 {
		t.Errorf("%d events of %d, %d in the counts", events, taken, hours)
	}
	m, err := n.reader().Minutes(t.Context(), began, later.Add(time.Hour))
	if err != nil || len(m) != 3 {
		t.Fatalf("%+v, %v", m, err)
	}
	ran, gap := m[0], m[1]
	if ran.State != inforce.Enforced || ran.Elapsed() < time.Duration(taken/20-2)*30*time.Second || ran.Open {
		t.Errorf("the first run: %+v", ran)
	}
	if gap.State != inforce.Unclean || !gap.From.Equal(ran.To()) || !gap.To().Equal(later) || m[2].State != inforce.Enforced {
		t.Errorf("the time between: %+v", gap)
	}
	var _ store.Minutes = gap
}
