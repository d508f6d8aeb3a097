package existence_test

import (
	"fmt"
	"testing"

	"rideau/resolver/cache/existence"
	"rideau/resolver/wire"
)

const second = int64(1e9)

const epoch = 1_700_000_000 * second

func name(t testing.TB, text string) *wire.Name {
	n := new(wire.Name)
	if err := n.SetText(text); err != nil {
		t.Fatal(err)
	}
	return n
}

// Two different questions are needed, within the time for which the first
// denial holds, and both of one zone.
func TestTwoQuestions(t *testing.T) {
	e := existence.New(1000, 1<<20)
	gone := name(t, "gone.example.com")
	deny := func(n *wire.Name, zone int, typ wire.Type, at int64) bool {
		return e.Deny(n, zone, typ, epoch+at*second, epoch+(at+300)*second)
	}
	if deny(gone, 2, wire.TypeA, 0) || deny(gone, 2, wire.TypeA, 1) {
		t.Error("one question is enough")
	}
	if deny(gone, 1, wire.TypeAAAA, 1) {
		t.Error("two zones deny one name")
	}
	if deny(name(t, "other.example.com"), 2, wire.TypeAAAA, 1) {
		t.Error("two names count as one")
	}
	if !deny(gone, 2, wire.TypeAAAA, 2) {
		t.Error("two questions are not enough")
	}
	if deny(gone, 2, wire.TypeMX, 1000) {
		t.Error("the first denial counts after its time")
	}
	e.Forget()
	if deny(gone, 2, wire.TypeA, 1001) {
		t.Error("nothing was forgotten")
	}
}

// What never counts, however often it comes.
func TestNeverDenied(t *testing.T) {
	for _, text := range []string{".", "com", "example", "co.uk", "gc.ca", "github.io", "in-addr.arpa", "foo.ck"} {
		e := existence.New(1000, 1<<20)
		for typ := range wire.Type(1000) {
			if e.Deny(name(t, text), 0, typ, epoch, epoch+300*second) {
				t.Fatalf("%s is denied", text)
			}
		}
	}
}

// A name that was answered lately is not denied, nor one above it; others are.
func TestAnsweredLately(t *testing.T) {
	e := existence.New(100_000, 1<<28)
	e.Answered(name(t, "www.shop.example.com"), epoch, 60)
	e.Answered(name(t, "long.example.org"), epoch, 86400)
	denied := func(text string, at int64) bool {
		now := epoch + at*second
		e.Deny(name(t, text), 1, wire.TypeA, now, now+300*second)
		return e.Deny(name(t, text), 1, wire.TypeAAAA, now, now+300*second)
	}
	for text, want := range map[string]bool{
		"www.shop.example.com": false, "shop.example.com": false, "example.com": false,
		"a.www.shop.example.com": true, "mail.shop.example.com": true, "example.net": true,
	} {
		if got := denied(text, 1); got != want {
			t.Errorf("%s: denied %v", text, got)
		}
	}
	if !denied("shop.example.com", existence.Lately+1) {
		t.Error("an answer of long ago counts")
	}
	if denied("example.org", 86000) {
		t.Error("an answer does not count for as long as its TTL")
	}
}

// No answered name is forgotten, however many there are.
func TestNoneForgotten(t *testing.T) {
	e := existence.New(16, 1<<16)
	e.Answered(name(t, "www.example.com"), epoch, 60)
	for i := range 100_000 {
		e.Answered(name(t, fmt.Sprintf("n%d.example.net", i)), epoch, 60)
	}
	e.Deny(name(t, "example.com"), 1, wire.TypeA, epoch, epoch+300*second)
	if e.Deny(name(t, "example.com"), 1, wire.TypeAAAA, epoch, epoch+300*second) {
		t.Error("denied")
	}
}

func TestAllocations(t *testing.T) {
	e := existence.New(1000, 1<<20)
	n := name(t, "a.b.c.gone.example.com")
	above := name(t, "b.c.gone.example.com")
	e.Deny(n, 2, wire.TypeAAAA, epoch, epoch+second)
	e.Deny(n, 2, wire.TypeA, epoch, epoch+second)
	if got := testing.AllocsPerRun(100, func() {
		if !e.Deny(n, 2, wire.TypeA, epoch, epoch+second) {
			t.Fatal("not denied")
		}
		e.Answered(above, epoch, 60)
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkAnswered(b *testing.B) {
	e := existence.New(100_000, 1<<28)
	n := name(b, "www.example.com")
	for b.Loop() {
		e.Answered(n, epoch, 60)
	}
}
