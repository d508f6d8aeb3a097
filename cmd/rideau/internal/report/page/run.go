package page

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"rideau/cmd/rideau/internal/report"
)

// Request is what somebody asks for, in text.
type Request struct {
	Paths []string // stores and files of events
	// From, To and Zone are as in [report.Period].
	From, To, Zone string
	Bans           []string
	Format, Lang   string
	// Out is the file to write; empty for the Writer that is given to Run.
	Out string
	// By is the program.
	By string
}

// Misuse is an error of a request that can be found without reading anything.
type Misuse struct{ Err error }

// Error implements error.
func (e Misuse) Error() string { return e.Err.Error() }

// Check returns a Misuse if a Request is wrong.
func (q *Request) Check() error {
	_, _, err := q.period(time.Now())
	switch {
	case !slices.Contains(Formats(), q.Format):
		err = fmt.Errorf("--format %q is none of %s", q.Format, strings.Join(Formats(), ", "))
	case !slices.Contains(Languages(), q.Lang):
		err = fmt.Errorf("--lang %q is none of %s", q.Lang, strings.Join(Languages(), ", "))
	}
	if err != nil {
		return Misuse{err}
	}
	return nil
}

func (q *Request) period(now time.Time) (from, to time.Time, err error) {
	zone, err := time.LoadLocation(q.Zone)
	if err != nil {
		return from, to, fmt.Errorf("--zone: %w; write a name such as America/Toronto, or UTC", err)
	}
	return report.Period(q.From, q.To, zone, now)
}

// Run makes a report and writes it. Nothing is written if the report cannot be made.
func (q *Request) Run(ctx context.Context, stdout io.Writer) error {
	if err := q.Check(); err != nil {
		return err
	}
	now := time.Now()
	from, to, err := q.period(now)
	if err != nil {
		return Misuse{err}
	}
	r, err := report.Make(ctx, report.Options{Paths: q.Paths, From: from, To: to, Bans: q.Bans, By: q.By, Now: now})
	if err != nil {
		return err
	}
	if q.Out == "" {
		return Write(stdout, r, q.Format, q.Lang)
	}
	f, err := os.OpenFile(q.Out, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(Write(f, r, q.Format, q.Lang), f.Close())
}
