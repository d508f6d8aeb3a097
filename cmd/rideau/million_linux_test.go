package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// millionNames returns a list of a million names, the same each time.
func millionNames() string {
	const n = 1_000_000
	rng := rand.New(rand.NewPCG(7, 8))
	tlds := []string{"com", "net", "org", "example", "co.uk", "cn"}
	var b strings.Builder
	b.Grow(24 * n)
	for range n {
		for range 1 + rng.IntN(2) {
			for range 5 + rng.IntN(7) { // short ones may be public suffixes
				b.WriteByte("abcdefghijklmnopqrstuvwxyz0123456789"[rng.IntN(36)])
			}
			b.WriteByte('.')
		}
		b.WriteString(tlds[rng.IntN(len(tlds))])
		b.WriteByte('\n')
	}
	return b.String()
}

// status returns a figure of a process's memory, in octets.
func (p *process) status(field string) int {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			if err != nil {
				p.t.Fatal(err)
			}
			return n << 10
		}
	}
	p.t.Fatalf("there is no %s", field)
	return 0
}

// resetPeak resets VmHWM, the peak of memory.
func (p *process) resetPeak() {
	p.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0); err != nil {
		p.t.Skipf("the peak of memory cannot be told here: %v", err)
	}
}

// TestMillionNamesRefreshed refreshes a list of a million names over HTTPS while clients query without a pause: no query is lost, no banned
// name is answered, an unchanged list makes no new policy, and a refresh uses a bounded amount of additional memory.
func TestMillionNamesRefreshed(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("a million names take seconds, which -short leaves out")
	}
	w := newWorld(t)
	pub := newPublisher(w)
	base := millionNames()
	versions := [2]string{base, base + "second.example\n"}
	pub.publish(`"0"`, versions[0])
	w.remote(pub.URL+"/list.txt", "")
	p := start(t, w.dir)
	for _, name := range []string{"plain.example", "second.example", "alias.example"} {
		p.ask("udp", name, 1)
	}
	load := &load{t: t, addr: p.dns[0]}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 3 {
		clients.Go(func() { load.client([]string{"udp", "udp", "tcp"}[i], i, stop) })
	}
	index := int(p.metric("rideau_policy_memory_bytes"))
	p.within(time.Now(), "memory is given back", func() (string, bool) {
		rss := p.status("VmRSS")
		return strconv.Itoa(rss), rss < 2*index+80<<20
	})
	for i := 1; i <= 4 && !t.Failed(); i++ {
		pub.publish(fmt.Sprintf(`"%d"`, i), versions[i%2])
		before := p.status("VmRSS")
		p.resetPeak()
		load.epoch.Add(1) // odd: either policy
		began := time.Now()
		code, r := p.reload("?fetch=true")
		if code != http.StatusOK || !r.Changed || len(r.Lists) != 2 || r.Lists[1].Entries < 1_000_000 {
			t.Fatalf("refresh %d: %d %+v", i, code, r)
		}
		load.epoch.Add(1) // even: the policy of version epoch/2
		took := time.Since(began)
		growth := p.status("VmHWM") - before
		t.Logf("refresh %d: %v, index %.1f MB, RSS %.1f MB before, peak %.1f MB more (%.2f of the index)", i, took.Round(time.Millisecond),
			float64(index)/1e6, float64(before)/1e6, float64(growth)/1e6, float64(growth)/float64(index))
		if growth > 2*index+8<<20 {
			t.Errorf("a refresh took %d octets beside what serves, and the index has %d", growth, index)
		}

		generation := p.metric("rideau_policy_generation")
		began = time.Now()
		if code, r := p.reload("?fetch=true"); code != http.StatusOK || r.Changed {
			t.Errorf("unchanged: %d %+v", code, r)
		}
		t.Logf("unchanged: %v", time.Since(began).Round(time.Millisecond))
		if now := p.metric("rideau_policy_generation"); now != generation {
			t.Errorf("generation %v became %v though nothing changed", generation, now)
		}
		time.Sleep(300 * time.Millisecond)
	}
	close(stop)
	clients.Wait()
	t.Logf("%d queries answered, %d of them under a policy that was confirmed", load.answered.Load(), load.confirmed.Load())
	if load.answered.Load() < 1000 || load.confirmed.Load() == 0 {
		t.Error("too few queries to say anything")
	}
}
