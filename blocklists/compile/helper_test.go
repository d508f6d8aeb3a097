package compile_test

import (
	"io"
	"strings"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
)

var day = time.Date(2023, 10, 30, 0, 0, 0, 0, time.UTC)

// list returns a plain list of these lines.
func list(id string, lines ...string) input.List {
	return input.List{ID: id, Source: id + ".txt", Format: format.Plain, MaxShrink: 0.5,
		Open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(strings.Join(lines, "\n"))), nil
		}}
}

// ban returns a ban of all clients that uses these lists.
func ban(id string, lists ...string) blocklists.Ban {
	return blocklists.Ban{ID: id, EDE: 16, TTL: 30 * time.Second, Groups: []string{blocklists.GroupAll}, Lists: lists}
}
