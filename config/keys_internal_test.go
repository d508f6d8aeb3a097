package config

import (
	"slices"
	"testing"

	"rideau/config/node"
)

// TestKeysAreRead holds the key tags to what is really read: a tag without a reader would promise a key that is an error, a reader without
// a tag would be a setting that nobody can find.
func TestKeysAreRead(t *testing.T) {
	d, err := node.Open("example", ExampleText())
	if err != nil {
		t.Fatal(err)
	}
	new(Config).read(d.Root())
	got, want := d.Known(), slices.Sorted(slices.Values(Keys()))
	if !slices.Equal(got, want) {
		t.Errorf("read: %v\ntags: %v", got, want)
	}
}
