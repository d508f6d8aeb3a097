package health_test

import (
	"testing"
	"testing/synctest"
	"time"

	"rideau/resolver/upstream/health"
)

// TCP counts as closed after two failures in a row. Ten seconds later one caller
// tries, and then one each ten seconds, until it works: then all use it again.
func TestStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s health.Streams
		s.Failed()
		s.Worked()
		s.Failed()
		if !s.Open() {
			t.Error("closed after one failure in a row")
		}
		s.Failed()
		for range 3 {
			if s.Open() {
				t.Error("open after two failures")
			}
			time.Sleep(10*time.Second - time.Nanosecond)
			if s.Open() {
				t.Error("tried before its time")
			}
			time.Sleep(time.Nanosecond)
			if !s.Open() || s.Open() {
				t.Error("not one caller tries")
			}
			s.Failed()
		}
		s.Worked()
		for range 3 {
			if !s.Open() {
				t.Error("closed after it has worked")
			}
		}
	})
}

// A server that gives no answers to what others answer is of little use, and is
// tried once a second; when it answers again it is of use at once, and on probation:
// it takes fewer failures the next time.
func TestUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		useless := func(u *health.Use) (n int) {
			for ; !u.Little() && n < 1000; n++ {
				u.Useless()
			}
			return n
		}
		var u health.Use
		if u.Little() || u.Any() {
			t.Error("a new server is of little use, or has answered")
		}
		first := useless(&u)
		if first < 10 || first > 64 {
			t.Errorf("of little use after %d questions", first)
		}
		if !u.Try() || u.Try() {
			t.Error("not one caller tries")
		}
		time.Sleep(time.Second)
		if !u.Try() {
			t.Error("not tried after a second")
		}
		u.Useful()
		if u.Little() || !u.Any() {
			t.Error("of little use though it has answered")
		}
		if second := useless(&u); second >= first {
			t.Errorf("of little use after %d more questions, and %d the first time", second, first)
		}
		u.Useful()
		for range 200 {
			u.Useful()
		}
		if again := useless(&u); again != first {
			t.Errorf("after 200 answers of little use after %d questions, want %d", again, first)
		}
	})
}
