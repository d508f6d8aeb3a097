package schema_test

import (
	"encoding/json"
	"testing"

	"rideau/resolver/audit/schema"
)

// What Plain escapes has the same value after it.
func TestPlain(t *testing.T) {
	const hostile = "a\x7fb\u009b31mé\u202e\u2028\ufeff\U000e0001\U0001f600"
	text, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	got := schema.Plain(text)
	if want := `"a\u007fb\u009b31mé\u202e\u2028\ufeff\udb40\udc01` + "\U0001f600\""; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var back string
	if err := json.Unmarshal(got, &back); err != nil || back != hostile {
		t.Errorf("%q, %v", back, err)
	}
	if plain := []byte(`{"a":"b"}`); &schema.Plain(plain)[0] != &plain[0] {
		t.Error("plain text is copied")
	}
}
