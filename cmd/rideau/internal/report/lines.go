package report

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"rideau/resolver/audit/read"
)

// eachLine calls f for each line of a file. A line is at most 16 MiB long.
func eachLine(ctx context.Context, r io.Reader, f func(line []byte)) error {
	const most = 16 << 20
	buf, n := make([]byte, 256<<10), 0
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, err := r.Read(buf[n:])
		n += m
		begin := 0
		for {
			i := bytes.IndexByte(buf[begin:n], '\n')
			if i < 0 {
				break
			}
			f(buf[begin : begin+i])
			begin += i + 1
		}
		n = copy(buf, buf[begin:n])
		switch {
		case err == io.EOF:
			if n > 0 {
				f(buf[:n])
			}
			return nil
		case err != nil:
			return err
		case n == len(buf) && n >= most:
			return fmt.Errorf("a line is longer than %d octets", most)
		case n == len(buf):
			buf = append(buf, make([]byte, len(buf))...)
		}
	}
}

// seen is a set of events.
type seen map[string]map[uint64]*[64]uint64

// add adds an event. It reports whether it is new.
func (s seen) add(id read.ID) bool {
	run := s[id.Run]
	if run == nil {
		run = map[uint64]*[64]uint64{}
		s[strings.Clone(id.Run)] = run
	}
	part := run[id.Number>>12]
	if part == nil {
		part = new([64]uint64)
		run[id.Number>>12] = part
	}
	word, bit := id.Number>>6&63, uint64(1)<<(id.Number&63)
	if part[word]&bit != 0 {
		return false
	}
	part[word] |= bit
	return true
}

// zoneName names the time zone of a period, by its abbreviations where it is that of
// the machine: "Local" would say nothing to readers elsewhere.
func zoneName(from, to time.Time) string {
	if name := from.Location().String(); name != "Local" {
		return name
	}
	first, _ := from.Zone()
	last, _ := to.In(from.Location()).Zone()
	if first == last {
		return first
	}
	return first + ", " + last
}
