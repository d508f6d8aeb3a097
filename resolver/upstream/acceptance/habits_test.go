package acceptance_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/wire"
)

// used reports whether queries to a server use something.
func used(e *acceptance.Endpoint, what string) bool {
	for _, u := range e.Uses() {
		if u.What == what {
			return u.Used
		}
	}
	return false
}

// costly are the habits that leave queries unanswered, and what is not used any
// more because of them.
var costly = map[acceptance.Habit]string{
	acceptance.MindsCase:   "mix_case",
	acceptance.NeedsSmall:  "large",
	acceptance.MindsDO:     "dnssec_ok",
	acceptance.MindsEDNS:   "edns",
	acceptance.NeedsStream: "udp",
}

// TestHabitsAgree: a habit is believed after observations that agree, some time
// apart, and the way back is tried after a while.
func TestHabitsAgree(t *testing.T) {
	for habit, what := range costly {
		synctest.Test(t, func(t *testing.T) {
			e := endpoint(true, false)
			for range 10 { // of one moment
				if e.Observe(habit) {
					t.Fatalf("%s: one observation is enough", what)
				}
			}
			if !used(e, what) {
				t.Fatalf("%s is not used after one observation", what)
			}
			time.Sleep(time.Second)
			if !e.Observe(habit) || used(e, what) {
				t.Fatalf("%s is used after two observations", what)
			}
			if habit == acceptance.MindsCase {
				time.Sleep(59 * time.Minute)
				if e.CaseDue() != 0 {
					t.Error("the case is tried too early")
				}
				time.Sleep(2 * time.Minute)
				if e.CaseDue() == 0 || e.MixesCase() {
					t.Error("after an hour clients' queries have a random case, or it is not tried whether they may")
				}
				e.CaseTried(true)
			} else {
				if e.ReviewDue() || e.ByDatagram() {
					t.Error("a review is due at once, or queries are as before")
				}
				time.Sleep(6 * time.Minute)
				if !e.ReviewDue() {
					t.Error("no review is due")
				}
				e.AnswersWhole()
			}
			if !used(e, what) || !e.ByDatagram() {
				t.Errorf("%s is not used though the server understands it", what)
			}
		})
	}
}

// TestHabitsContradicted: a response to a whole query ends what was observed, one
// that says nothing of the habit does not.
func TestHabitsContradicted(t *testing.T) {
	large := func(m *dns.Msg) {
		for range 40 {
			m.Answer = append(m.Answer, m.Answer[0])
		}
	}
	for habit, what := range costly {
		for name, c := range map[string]struct {
			shape acceptance.Shape
			edit  func(*dns.Msg)
			ends  bool
		}{
			"whole":        {acceptance.Whole, large, true},
			"whole, small": {acceptance.Whole, func(*dns.Msg) {}, habit != acceptance.NeedsSmall},
			"plain":        {acceptance.Plain, func(*dns.Msg) {}, habit == acceptance.NeedsStream || habit == acceptance.MindsCase},
			"an error":     {acceptance.Whole, rcode(dns.RcodeServerFailure), false},
		} {
			synctest.Test(t, func(t *testing.T) {
				e := endpoint(true, false)
				e.Observe(habit)
				bits := [32]byte{}
				for i := range bits {
					bits[i] = 0xA5
				}
				asked := query(t)
				if off, end := acceptance.FindOPT(asked); end > 0 {
					asked[off+7] |= 0x80 // DO
				}
				q, _ := e.Protect(acceptance.Shaped(asked, c.shape), &bits, false)
				if r, _ := acceptance.Accept(datagram, e, q, reply(t, q, c.edit)); r != acceptance.Answer && r != acceptance.Failure {
					t.Fatal(r)
				}
				time.Sleep(time.Second)
				if believed := e.Observe(habit); believed == c.ends {
					t.Errorf("%s, %s: believed %v", what, name, believed)
				}
			})
		}
	}
}

// TestHabitsForged: observations do not agree while there are messages that are no
// response, and what forgers can show takes more of them.
func TestHabitsForged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint(true, true)
		for i := range 100 {
			for range 20 {
				e.Mismatched()
			}
			for h := acceptance.LosesCase; h <= acceptance.NeedsStream; h++ {
				if e.Observe(h) {
					t.Fatalf("habit %d is believed after %d rounds of guesses", h, i)
				}
			}
			time.Sleep(2 * time.Second)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		e := endpoint(true, false)
		for i := range 4 {
			if !e.MixesCase() {
				t.Fatalf("%d responses in another case are enough", i)
			}
			for range 5 {
				e.Observe(acceptance.LosesCase)
			}
			time.Sleep(1100 * time.Millisecond)
		}
		if e.MixesCase() {
			t.Error("four are not enough")
		}
	})
}

// TestCookieTrials: no query has a cookie before a server has given one to all
// queries of a trial; then all have.
func TestCookieTrials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint(false, true)
		has := func() bool { _, cookie := e.Protect(query(t), nil, false); return cookie }
		if has() || e.CookieDue() != 1 {
			t.Fatalf("cookie %v, due %d", has(), e.CookieDue())
		}
		e.CookieTried(nil, false) // lost
		if e.CookieDue() != 0 {
			t.Error("it is tried again at once")
		}
		time.Sleep(11 * time.Second)
		if e.CookieDue() != 1 {
			t.Error("it is not tried again")
		}
		e.CookieTried(nil, true)
		time.Sleep(50 * time.Minute)
		if e.CookieDue() != 0 {
			t.Error("a server without cookies is asked too often")
		}
		time.Sleep(11 * time.Minute)
		e.CookieTried([]byte("01234567abcdefgh"), false)
		if !has() || e.CookieDue() != 0 {
			t.Error("the cookie is not used")
		}
		e.DropCookie()
		if has() {
			t.Error("the cookie is still used")
		}
		time.Sleep(61 * time.Minute)
		if n := e.CookieDue(); n < 4 {
			t.Errorf("%d queries of a server that has lost its cookie once", n)
		}
		if has() {
			t.Error("a client's query asks for a cookie")
		}
		e.WantCookie()
		if !has() {
			t.Error("a server that insists gets no cookie")
		}
	})
}

// TestShaped: each shape is the query without something, and readable.
func TestShaped(t *testing.T) {
	for shape, want := range map[acceptance.Shape][3]int{ // has OPT, size, DO
		acceptance.Whole: {1, 1232, 1}, acceptance.Small: {1, 512, 1}, acceptance.WithoutDO: {1, 1232, 0}, acceptance.Plain: {0, 0, 0},
	} {
		q := query(t)
		off, _ := acceptance.FindOPT(q)
		q[off+7] |= 0x80
		q = acceptance.Shaped(q, shape)
		var m dns.Msg
		if err := m.Unpack(q); err != nil {
			t.Fatal(err)
		}
		var got [3]int
		if o := m.IsEdns0(); o != nil {
			got = [3]int{1, int(o.UDPSize()), 0}
			if o.Do() {
				got[2] = 1
			}
		}
		if got != want || !acceptance.Readable(q) {
			t.Errorf("shape %d: %v, want %v", shape, got, want)
		}
	}
	bare := query(t)[:wire.HeaderLen]
	if got := acceptance.Shaped(bare, acceptance.Plain); string(got) != string(bare) {
		t.Error("a header is changed")
	}
}

// TestInherits: a successor knows what its predecessor has learnt.
func TestInherits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := endpoint(true, true)
		old.CookieTried([]byte("01234567abcdefgh"), false)
		for range 2 {
			old.Observe(acceptance.MindsEDNS)
			old.Observe(acceptance.MindsCase)
			time.Sleep(time.Second)
		}
		e := endpoint(true, true)
		e.Inherit(old)
		if used(e, "edns") || used(e, "mix_case") || !used(e, "cookies") {
			t.Errorf("%v", e.Uses())
		}
	})
}
