package watch

import (
	"testing"
)

func TestWholeFiles(t *testing.T) {
	const second = int64(1e9)
	old := fileStamp{size: 10, modified: 5 * second, changed: 5 * second, device: 1, inode: 7}
	for what, c := range map[string]struct {
		now  fileStamp
		want bool
	}{
		"as before":              {old, true},
		"renamed into place":     {fileStamp{12, 8 * second, 8*second + 1, 1, 8}, true},
		"written in place":       {fileStamp{12, 8 * second, 8 * second, 1, 7}, false},
		"its mode changed":       {fileStamp{10, 5 * second, 9 * second, 1, 7}, false},
		"made anew, in writing":  {fileStamp{3, 8 * second, 8 * second, 1, 8}, false},
		"made, its mode set":     {fileStamp{0, 8 * second, 8*second + 1, 1, 8}, false},
		"deleted":                {fileStamp{}, false},
		"swapped, long complete": {fileStamp{12, 4 * second, 4*second + 2, 2, 8}, true},
	} {
		if got := whole(Stamps{"f": old}, Stamps{"f": c.now}); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
	if whole(nil, Stamps{"f": old}) {
		t.Error("a path that is new to us")
	}
}
