package key_test

import (
	"reflect"
	"slices"
	"testing"

	"rideau/config/key"
)

type inner struct {
	A int `key:"a" applies:"restart"`
	B int `key:"b"`
}

type outer struct {
	Section inner   `key:"section"`
	List    []inner `key:"list" applies:"lists"`
	Words   []string
	Line    int      `key:"-"`
	Names   []string `key:"names" applies:"live"`
}

func TestEach(t *testing.T) {
	var got []string
	key.Each(reflect.TypeFor[outer](), func(path string, a key.Application) { got = append(got, path+" "+string(a)) })
	want := []string{"section ", "section.a restart", "section.b ", "list lists", "list[].a restart", "list[].b lists", "names live"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChanged(t *testing.T) {
	a := outer{List: []inner{{1, 2}}, Words: []string{"x"}, Line: 3}
	b := outer{Section: inner{B: 1}, List: []inner{{1, 3}}, Line: 4, Names: []string{}}
	changed := func(a, b *outer) []string { return key.Changed(reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()) }
	if got := changed(&a, &b); !slices.Equal(got, []string{"section.b", "list"}) {
		t.Errorf("got %q", got)
	}
	if got := changed(&a, &a); len(got) > 0 {
		t.Errorf("differs from itself in %q", got)
	}
}
