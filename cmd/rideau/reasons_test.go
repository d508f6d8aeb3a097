package main

import (
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRefusedForWhatIsWrong: a refused reload says why, and does not name the lines that were skipped in lists without an error.
func TestRefusedForWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	w.write("odd.txt", "odd.example\nno name\n")
	odd := func(s *settings) {
		s.more, s.bans, s.extraLists = "reload: {watch: false}", "odd", ", {id: odd, file: odd.txt, max_skipped: 0.5}"
	}
	w.config(odd)
	p := start(t, w.dir)
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		what string
		make func()
		want string
	}{
		{"an address that is taken", func() {
			w.config(odd, func(s *settings) { s.listen = append(s.listen, taken.LocalAddr().String()) })
		}, taken.LocalAddr().String()},
		{"another list", func() {
			w.config(odd)
			w.write("list.txt", "<html>\n")
		}, "list.txt:1: "},
	} {
		c.make()
		if code, r := p.reload(""); code != http.StatusUnprocessableEntity || !strings.Contains(r.Error, c.want) {
			t.Errorf("%s: %d %+v", c.what, code, r)
		}
		if code, body := p.request(http.MethodPost, "/reload", ""); code != http.StatusUnprocessableEntity || !strings.Contains(body, c.want) || strings.Contains(body, "no name") {
			t.Errorf("%s: text: %d %q", c.what, code, body)
		}
		logged := len(p.stderr.String())
		p.signal(syscall.SIGHUP)
		p.within(time.Now(), "SIGHUP refused", func() (string, bool) {
			log := p.stderr.String()[logged:]
			return log, strings.Contains(log, "why=SIGHUP") && strings.Contains(log, c.want) && !strings.Contains(log, "no name")
		})
	}
}
