package config

import (
	"slices"
	"testing"

	"rideau/config/node"
)

// TestKeysAreRead: the key tags and the keys that are read are the same. A tag that is not read would promise a key that is an error; a key
// without a tag would not be documented.
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
