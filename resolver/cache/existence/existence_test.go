package existence_test

import (
	"fmt"
	"strings"
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
		types, _ := e.Deny(n, zone, typ, epoch+at*second, epoch+(at+300)*second)
		return types
	}
	if deny(gone, 2, wire.TypeA, 0) || deny(gone, 1, wire.TypeAAAA, 0) {
		t.Error("two zones deny one name")
	}
	if deny(gone, 2, wire.TypeA, 0) || deny(gone, 2, wire.TypeA, 1) {
		t.Error("one question is enough")
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
			if types, cut := e.Deny(name(t, text), 0, typ, epoch, epoch+300*second); types || cut > 0 {
				t.Fatalf("%s is denied", text)
			}
			if _, cut := e.Deny(name(t, strings.TrimSuffix(fmt.Sprintf("n%d.%s", typ, text), ".")), 0, typ, epoch, epoch+300*second); cut > 0 {
				t.Fatalf("all below %s is denied", text)
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
		types, _ := e.Deny(name(t, text), 1, wire.TypeAAAA, now, now+300*second)
		return types
	}
	for text, want := range map[string]bool{
		"www.shop.example.com": false, "shop.example.com": false, "example.com": false,
		"a.www.shop.example.com": true, "mail.shop.example.com": true, "example.net": true,
	} {
		if got := denied(text, 1); got != want {
			t.Errorf("%s: denied %v", text, got)
		}
	}
	if !denied("shop.example.com", existence.Lately+existence.Mark) {
		t.Error("an answer of long ago counts")
	}
	if denied("example.org", 86000) {
		t.Error("an answer does not count for as long as its TTL")
	}
}

// A name that answers after it was denied is told once.
func TestAnsweredAfterDenial(t *testing.T) {
	e := existence.New(1000, 1<<20)
	n := name(t, "www.example.com")
	if e.Answered(name(t, "mail.example.com"), epoch, 60) {
		t.Error("a name was denied that was not")
	}
	e.Deny(n, 2, wire.TypeAAAA, epoch, epoch+300*second)
	if e.Answered(name(t, "a.www.example.com"), epoch, 60) {
		t.Error("a name below was denied")
	}
	for i, want := range []bool{true, false} {
		if got := e.Answered(n, epoch, 60); got != want {
			t.Errorf("answer %d: denied before: %v", i, got)
		}
		e.Deny(n, 2, wire.TypeAAAA, epoch, epoch+300*second) // not believed
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
	if types, _ := e.Deny(name(t, "example.com"), 1, wire.TypeAAAA, epoch, epoch+300*second); types {
		t.Error("denied")
	}
}

// Names below a denied one are denied once so many have been denied by themselves,
// by the same zone, while the denial above holds, and none has been answered.
func TestNamesBelow(t *testing.T) {
	for what, tt := range map[string]struct {
		names, want int
		before      func(e *existence.Table)
		zone        int
		at          int64
	}{
		"enough":                    {names: existence.Evidence, zone: 2, want: 3},
		"one too few":               {names: existence.Evidence - 1, zone: 2},
		"of another zone":           {names: 100, zone: 1},
		"after the denial's time":   {names: 100, zone: 2, at: 301},
		"one was answered":          {names: 100, zone: 2, before: func(e *existence.Table) { e.Answered(name(t, "www.gone.example.com"), epoch, 60) }},
		"another name was answered": {names: 100, zone: 2, want: 3, before: func(e *existence.Table) { e.Answered(name(t, "www.example.com"), epoch, 60) }},
	} {
		e := existence.New(100_000, 1<<28)
		gone := name(t, "gone.example.com")
		for _, typ := range []wire.Type{wire.TypeA, wire.TypeAAAA} {
			if _, cut := e.Deny(gone, 2, typ, epoch, epoch+300*second); cut != 0 {
				t.Errorf("%s: two types deny all below", what)
			}
		}
		if tt.before != nil {
			tt.before(e)
		}
		got, now := 0, epoch+tt.at*second
		for i := range tt.names {
			for _, typ := range []wire.Type{wire.TypeA, wire.TypeAAAA} { // one name counts once
				_, got = e.Deny(name(t, fmt.Sprintf("a.n%d.gone.example.com", i)), tt.zone, typ, now, now+300*second)
				if typ == wire.TypeA && i < existence.Evidence-1 && got != 0 {
					t.Errorf("%s: cut after %d names", what, i+1)
				}
			}
		}
		if got != tt.want {
			t.Errorf("%s: cut at %d labels, want %d", what, got, tt.want)
		}
		if tt.want > 0 {
			if types, cut := e.Deny(gone, 2, wire.TypeA, epoch, epoch+400*second); !types || cut != tt.want {
				t.Errorf("%s: the denial's renewal: %v, cut at %d labels", what, types, cut)
			}
		}
	}
}

// Exists knows what was answered lately and what is above it, and little else even
// if the table is full.
func TestExists(t *testing.T) {
	const n = 20_000
	e := existence.New(n, 1<<30)
	at := func(i int) *wire.Name { return name(t, fmt.Sprintf("www.n%d.example.com", i)) }
	for i := range n {
		e.Answered(at(i), epoch, 60)
	}
	missed, wrong := 0, 0
	for i := range n {
		if !e.Exists(at(i), epoch+second) {
			missed++
		}
		if e.Exists(name(t, fmt.Sprintf("www.x%d.example.com", i)), epoch+second) {
			wrong++
		}
	}
	if missed > n/5 || wrong > n/200 {
		t.Errorf("%d of %d are missed, and %d of as many are wrong", missed, n, wrong)
	}
	e = existence.New(n, 1<<30)
	e.Answered(at(n-1), epoch, 60)
	for text, want := range map[string]bool{"example.com": true, fmt.Sprintf("n%d.example.com", n-1): true, "com": false, "a.www.n1.example.com": false, "example.net": false} {
		if got := e.Exists(name(t, text), epoch+second); got != want {
			t.Errorf("%s exists: %v", text, got)
		}
	}
	if e.Exists(at(n-1), epoch+(existence.Lately+existence.Mark)*second) {
		t.Error("an answer of long ago counts")
	}
	e.Forget()
	if e.Exists(at(n-1), epoch) {
		t.Error("nothing was forgotten")
	}
}

func TestAllocations(t *testing.T) {
	e := existence.New(1000, 1<<20)
	n := name(t, "a.b.c.gone.example.com")
	above := name(t, "b.c.gone.example.com")
	e.Deny(n, 2, wire.TypeAAAA, epoch, epoch+second)
	e.Deny(n, 2, wire.TypeA, epoch, epoch+second)
	if got := testing.AllocsPerRun(100, func() {
		if types, _ := e.Deny(n, 2, wire.TypeA, epoch, epoch+second); !types {
			t.Fatal("not denied")
		}
		e.Answered(above, epoch, 60)
		e.Exists(above, epoch)
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
