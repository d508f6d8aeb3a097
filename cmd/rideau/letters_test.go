//go:build linux

package main

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"rideau/resolver/resolvertest/odd"
)

// TestLettersUpstream: with the default configuration names go to upstream in letters
// of random case where a response can be forged, that is over UDP, and as they are
// where it cannot.
func TestLettersUpstream(t *testing.T) {
	for _, c := range []struct {
		over odd.Transport
		more string
		want bool
	}{
		{odd.UDP, "", true},
		{odd.UDP, ", mix_case: false", false},
		{odd.TCP, "", false},
		{odd.TLS, "", false},
		{odd.HTTPS, "", false},
	} {
		t.Run(string(c.over)+c.more, func(t *testing.T) {
			var mixed, all atomic.Int32
			s := &odd.Server{Over: c.over, Does: func(q *odd.Query, r *odd.Reply) {
				if !strings.Contains(strings.ToLower(q.Name()), "example") {
					return // a probe
				}
				all.Add(1)
				if q.Name() != strings.ToLower(q.Name()) {
					mixed.Add(1)
				}
			}}
			s.Start(t)
			p := (&oddUpstreams{all: []*odd.Server{s}, over: c.over}).startRideau(t, c.more)
			const names = 5
			for i := range names {
				if _, why := askOnce(p.dns[0], fmt.Sprintf("letters-of-the-name-%d.example.", i), 1, nil); why != "" {
					t.Fatal(why)
				}
			}
			if got := mixed.Load(); all.Load() < names || c.want && got < names || !c.want && got > 0 {
				t.Errorf("%d of %d names in random case", got, all.Load())
			}
		})
	}
}
