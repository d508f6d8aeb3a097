package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// switches is how often the threads of a process have given up their processor.
func (p *process) switches() (n int) {
	p.t.Helper()
	all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.cmd.Process.Pid))
	for _, name := range all {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // a thread that has ended
		}
		for line := range bytes.Lines(text) {
			if value, ok := bytes.CutPrefix(line, []byte("voluntary_ctxt_switches:")); ok {
				k, err := strconv.Atoi(string(bytes.TrimSpace(value)))
				if err != nil {
					p.t.Fatal(err)
				}
				n += k
			}
		}
	}
	return n
}

// TestIdle: a server that has nothing to do sleeps. It wakes for probes of its upstreams
// and little else, also after it had much to do.
func TestIdle(t *testing.T) {
	const perSecond = 50
	w := newWorld(t)
	p := start(t, w.dir)
	for i := range 50 {
		p.ask("udp", fmt.Sprintf("new%d.example", i), 1)
		p.ask("tcp", "plain.example", 1)
	}
	p.within(time.Now().Add(20*time.Second), "sleeps", func() (string, bool) {
		before := p.switches()
		began := time.Now()
		time.Sleep(time.Second) // sleeps: the time that is measured
		rate := float64(p.switches()-before) / time.Since(began).Seconds()
		return fmt.Sprintf("%.0f switches a second", rate), rate < perSecond
	})
}
