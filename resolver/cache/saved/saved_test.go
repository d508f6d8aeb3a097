package saved_test

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
	"testing/iotest"

	"rideau/resolver/cache/saved"
)

// file returns a file with the records, and the records.
func file(t *testing.T) ([]byte, []saved.Record) {
	t.Helper()
	records := []saved.Record{
		{Stored: 1, EDE: 0xFFFF, Message: []byte("one")},
		{Stored: -1, DO: true, EDE: 22, Message: []byte("two")},
		{Stored: 1 << 60, CD: true, Message: bytes.Repeat([]byte("x"), 0xFFFF)},
		{DO: true, CD: true, Message: []byte{0}},
	}
	var b bytes.Buffer
	w := saved.NewWriter(&b, saved.Fingerprint{7}, 5)
	for i := range records {
		if err := w.Write(records[i].Append(nil), 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), records
}

// read returns the records of a file, and the error that ends them.
func read(r io.Reader, f saved.Fingerprint) (out []saved.Record, err error) {
	in, err := saved.NewReader(r, f)
	if err != nil {
		return nil, err
	}
	for {
		record, err := in.Next()
		if err != nil {
			return out, err
		}
		record.Message = bytes.Clone(record.Message)
		out = append(out, record)
	}
}

// A file reads back as it was written.
func TestRoundTrip(t *testing.T) {
	text, want := file(t)
	got, err := read(iotest.OneByteReader(bytes.NewReader(text)), saved.Fingerprint{7})
	if err != io.EOF || !reflect.DeepEqual(got, want) {
		t.Errorf("got %d records, %v", len(got), err)
	}
}

// A file of other upstreams, a damaged file and a failing disk are told apart.
func TestErrors(t *testing.T) {
	text, _ := file(t)
	if _, err := read(bytes.NewReader(text), saved.Fingerprint{8}); !errors.Is(err, saved.ErrForeign) {
		t.Errorf("another fingerprint: %v", err)
	}
	for _, at := range []int{0, 12, 13 + 32 + 10, len(text) - 7, len(text) - 1} {
		bad := bytes.Clone(text)
		bad[at] ^= 0x40
		if _, err := read(bytes.NewReader(bad), saved.Fingerprint{7}); !errors.Is(err, saved.ErrUnusable) {
			t.Errorf("changed at %d: %v", at, err)
		}
		if _, err := read(bytes.NewReader(text[:at]), saved.Fingerprint{7}); !errors.Is(err, saved.ErrUnusable) {
			t.Errorf("cut at %d: %v", at, err)
		}
	}
	if _, err := read(bytes.NewReader(append(bytes.Clone(text), 0)), saved.Fingerprint{7}); !errors.Is(err, saved.ErrUnusable) {
		t.Errorf("an octet after the end: %v", err)
	}
	disk := errors.New("disk")
	if _, err := read(io.MultiReader(bytes.NewReader(text[:60]), iotest.ErrReader(disk)), saved.Fingerprint{7}); !errors.Is(err, disk) || errors.Is(err, saved.ErrUnusable) {
		t.Errorf("a read that fails: %v", err)
	}
	w := saved.NewWriter(failing{disk}, saved.Fingerprint{}, 5)
	if err := w.Close(); !errors.Is(err, disk) {
		t.Errorf("a write that fails: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
