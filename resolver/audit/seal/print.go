package seal

import (
	"bytes"
	"fmt"
	"io"
)

// ReadHeadsFile reads the heads in a file, which gzip or zstd may have compressed.
// Without any, it is an error.
func ReadHeadsFile(path string) ([]Head, error) {
	r, done, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer done()
	h, err := ReadHeads(r)
	if err == nil && len(h) == 0 {
		err = fmt.Errorf("%s holds no act of the kind seal", path)
	}
	return h, err
}

// Print writes a report for people: the findings, a summary, and what is not
// proved.
func (r *Report) Print(w io.Writer) error {
	var b bytes.Buffer
	for _, f := range r.Findings {
		word := "note"
		if f.Fault {
			word = "FAULT"
		}
		fmt.Fprintf(&b, "%s (%s): %s\n", word, f.Kind, f.Text)
	}
	if r.Seals > 0 {
		fmt.Fprintf(&b, "%d events in %d segments of %d files, from %s to %s, are as they were sealed.\n", r.Events, r.Seals, r.Files, stamp(r.From), stamp(r.To))
	}
	if r.Intact {
		fmt.Fprintln(&b, "Proved: a holder of the key sealed these events, in this order, and none between them is missing.")
	} else {
		fmt.Fprintln(&b, "The files are not as they were written.")
	}
	for _, text := range r.NotProved {
		fmt.Fprintf(&b, "Not proved: %s.\n", text)
	}
	_, err := w.Write(b.Bytes())
	return err
}
