package reason

import (
	"fmt"
	"io"

	"github.com/miekg/dns"

	"rideau/blocklists/querylog"
	"rideau/cmd/rideau/internal/text"
	"rideau/resolver/wire"
)

// Log is a query log or a capture, in any format that querylog reads.
type Log struct {
	Name string // for messages and reports
	// Open opens it for reading. It is called once.
	Open func() (io.ReadCloser, error)
}

// ReadLog is what was found in a Log.
type ReadLog struct {
	File     string       `json:"file"`
	Formats  []string     `json:"formats"`
	Lines    int          `json:"lines"` // or packets
	Queries  int          `json:"queries"`
	LeftOut  int          `json:"left_out"` // queries of clients that are left out
	Other    int          `json:"other"`
	Unread   int          `json:"unread"`
	Problems []UnreadLine `json:"problems"`
}

// UnreadLine is a line that could not be read.
type UnreadLine struct {
	Line   int    `json:"line"`
	Text   string `json:"text,omitempty"`
	Reason string `json:"reason"`
}

// read reads a log, and calls each with every query in it. as is the log's
// format; if it is empty, the format is detected for each line.
func (l Log) read(as string, each func(*querylog.Query) error) (ReadLog, error) {
	out := ReadLog{File: l.Name, Formats: []string{}, Problems: []UnreadLine{}}
	in, err := l.Open()
	if err != nil {
		return out, fmt.Errorf("%w; give the path of a log", err)
	}
	defer in.Close()
	stats, err := querylog.Read(in, querylog.Options{File: l.Name, Format: querylog.Format(as), Type: typeNamed}, each)
	out.Lines, out.Queries, out.Other, out.Unread = stats.Lines, stats.Queries, stats.Other, stats.Unread
	for _, f := range stats.Formats {
		out.Formats = append(out.Formats, string(f))
	}
	for _, p := range stats.Problems {
		out.Problems = append(out.Problems, UnreadLine{p.Line, p.Text, p.Reason})
	}
	return out, err
}

// typeNamed returns the type of that name.
func typeNamed(name string) (wire.Type, bool) {
	if t, ok := dns.StringToType[name]; ok {
		return wire.Type(t), true // without the copy that ParseType makes
	}
	t, ok := text.ParseType(name)
	return wire.Type(t), ok
}
