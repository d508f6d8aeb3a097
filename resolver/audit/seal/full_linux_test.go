package seal_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rideau/resolver/audit/lines"
	"rideau/resolver/audit/seal"
)

// While the disk is full, nothing is taken that is not there later; once there is
// space the chain goes on, and every line that was taken is sealed, once.
func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	w.dir = t.TempDir()
	if err := syscall.Mount("tmpfs", w.dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("a small disk cannot be had here: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(w.dir, syscall.MNT_DETACH) })
	k, err := seal.NewWriter(seal.Options{File: lines.Options{Path: w.path()}, Key: w.key, Every: time.Hour, Lines: 5, Now: func() time.Time { return w.now },
		Sealed: func(h seal.Head) { w.heads = append(w.heads, h) }})
	if err != nil {
		t.Fatal(err)
	}
	fill := filepath.Join(w.dir, "fill")
	taken, refused := 0, 0
	for i := range 60 {
		event := []byte(`{"event":"query","pad":"` + strings.Repeat("x", 37*i) + `"}`)
		if i%3 == 1 { // a disk that is full to the octet, or nearly so
			f, err := os.Create(fill)
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, err = f.Write(make([]byte, 1024+i))
			}
			f.Close()
		}
		left := [][]byte{event, event, event}
		for try := 0; len(left) > 0; try++ {
			n, err := k.Write(t.Context(), left)
			taken += n
			if left = left[n:]; err == nil {
				continue
			}
			if refused++; try == 2 {
				os.Remove(fill)
			}
			if try > 10 {
				t.Fatalf("event %d: %v", i, err)
			}
		}
		os.Remove(fill)
		w.now = w.now.Add(time.Second)
	}
	w.close(k)
	r := w.verify(w.files(), w.heads)
	whole := 0
	for _, text := range w.files() {
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, `{"event":"query"`) && strings.HasSuffix(line, "\"}\n") {
				whole++
			}
		}
	}
	if refused == 0 || taken != 180 || whole != 180 || !r.Intact {
		t.Errorf("%d refused, %d taken, %d there: %+v", refused, taken, whole, r)
	}
}
