package password_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"rideau/resolver/ops/access/password"
)

func isRole(s string) bool { return s == "viewer" || s == "operator" }

// TestHash: a hash that is written and read is that of its password, and of no other.
func TestHash(t *testing.T) {
	h, err := password.New("correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	again, err := password.Parse(h.String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := password.New("correct horse battery")
	if err != nil || other.String() == h.String() {
		t.Errorf("the same salt twice: %v", err)
	}
	c := password.NewChecker()
	for secret, want := range map[string]bool{"correct horse battery": true, "correct horse batter": false, "": false, strings.Repeat("a", password.MaxLength+1): false} {
		if got, err := c.Check(context.Background(), again, secret); got != want || err != nil {
			t.Errorf("%q: %v, %v", secret, got, err)
		}
	}
	if ok, err := c.Check(context.Background(), password.Hash{}, ""); ok || err != nil {
		t.Errorf("no hash: %v, %v", ok, err)
	}
	for _, short := range []string{"", "elevenchars", strings.Repeat("a", password.MaxLength+1)} {
		if _, err := password.New(short); err == nil {
			t.Errorf("%d octets are a password", len(short))
		}
	}
}

// TestForms: what is a hash in PHC form, and what is refused with a remedy.
func TestForms(t *testing.T) {
	const salt, key = "c29tZXNhbHRzb21lc2FsdA", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"
	if _, err := password.Parse("$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + key); err != nil {
		t.Error(err)
	}
	for _, s := range []string{
		"", "$", "secret", "$2y$10$abcdefghijklmnopqrstuv", "$argon2i$v=19$m=19456,t=2,p=1$" + salt + "$" + key, "$argon2id$v=16$m=19456,t=2,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=4294967295,t=2,p=1$" + salt + "$" + key, "$argon2id$v=19$m=1024,t=2,p=1$" + salt + "$" + key, "$argon2id$v=19$m=19456,t=0,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=19456,t=99,p=1$" + salt + "$" + key, "$argon2id$v=19$m=19456,t=2,p=0$" + salt + "$" + key, "$argon2id$v=19$m=19456,t=2,p=255$" + salt + "$" + key,
		"$argon2id$v=19$m=19456,t=2,p=1$c2Fs$" + key, "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$a2V5", "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + key + "=",
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + key + "$", "$argon2id$v=19$m=019456,t=2,p=1$" + salt + "$" + key, "$argon2id$v=19$m=19456,t=2,p=1x$" + salt + "$" + key,
		"$argon2id$v=19$m=-1,t=2,p=1$" + salt + "$" + key,
	} {
		if _, err := password.Parse(s); err == nil || !strings.Contains(err.Error(), "; ") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// TestUsers: a file of users, and each thing that can be wrong with it, with its line.
func TestUsers(t *testing.T) {
	h := password.Nobody().String()
	good := "# comment\n\nann:viewer:" + h + "\r\nb.o'b:viewer:x\n"
	good = strings.Replace(good, "b.o'b:viewer:x", "Zoé.b+c@example.org:operator:"+h, 1)
	all, err := password.Read(strings.NewReader(good), isRole, "viewer or operator")
	if err != nil || len(all) != 2 || all[0].Name != "ann" || all[0].Role != "viewer" || all[1].Line != 4 || all[1].String() != "Zoé.b+c@example.org:operator:"+h {
		t.Fatalf("%+v, %v", all, err)
	}
	for text, want := range map[string]string{
		"ann\n":                                     "line 1: this is not NAME:ROLE:HASH",
		"\nann:viewer\n":                            "line 2: this is not NAME:ROLE:HASH",
		"ann:admin:" + h:                            `line 1: "admin" is no role; use viewer or operator`,
		":viewer:" + h:                              "line 1: the name of the user is empty",
		"<b>:viewer:" + h:                           "line 1: the name of the user has '<'",
		"a\x1b[2J:viewer:" + h:                      `line 1: the name of the user has '\x1b'`,
		"a b:viewer:" + h:                           "line 1: the name of the user has ' '",
		"a\u202eb:viewer:" + h:                      `line 1: the name of the user has '\u202e'`,
		strings.Repeat("a", 65) + ":viewer:" + h:    "line 1: the name of the user is longer",
		strings.Repeat("a", 10000) + ":viewer:" + h: "line 1: the line has more than",
		"ann:viewer:secret":                         "line 1: ann: this is no argon2id hash; make the line with rideau user",
		"ann:viewer:" + h + "\nann:operator:" + h:   "line 2: ann is a user already, in line 1",
	} {
		if _, err := password.Read(strings.NewReader(text), isRole, "viewer or operator"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.60q: %v, want %s", text, err, want)
		}
	}
	var many strings.Builder
	for i := range password.MaxUsers + 1 {
		many.WriteString(strings.Repeat("a", i%60+1) + string(rune('a'+i/60)) + ":viewer:" + h + "\n")
	}
	if _, err := password.Read(strings.NewReader(many.String()), isRole, ""); err == nil || !strings.Contains(err.Error(), "more than 256 users") {
		t.Error(err)
	}
}

// TestCheckerBounds: however many check passwords at once, one is hashed at a time, a few wait, and the others are told to come later. Who
// goes away stops waiting.
func TestCheckerBounds(t *testing.T) {
	c := password.NewChecker()
	h, err := password.Parse("$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY")
	if err != nil {
		t.Fatal(err)
	}
	const n = 40
	var wait sync.WaitGroup
	var mu sync.Mutex
	busy, wrong := 0, 0
	begin := make(chan struct{})
	for range n {
		wait.Go(func() {
			<-begin
			ok, err := c.Check(context.Background(), h, "a password")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case ok:
				t.Error("a password of nobody")
			case errors.Is(err, password.ErrBusy):
				busy++
			case err == nil:
				wrong++
			}
		})
	}
	close(begin)
	wait.Wait()
	if busy+wrong != n || wrong == 0 {
		t.Errorf("%d were told to come later, %d were checked", busy, wrong)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if ok, err := c.Check(gone, h, "a password"); ok || !errors.Is(err, context.Canceled) {
		t.Error(ok, err)
	}
}

// TestNobodyCosts: a hash of nobody costs what the costliest of the users does.
func TestNobodyCosts(t *testing.T) {
	cheap, _ := password.Parse("$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY")
	dear, _ := password.Parse("$argon2id$v=19$m=19456,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY")
	if got := password.Costlier(cheap, dear).Unguessable().String(); !strings.HasPrefix(got, "$argon2id$v=19$m=19456,t=3,p=1$") || strings.Contains(got, "MDEyMzQ1") {
		t.Error(got)
	}
}
