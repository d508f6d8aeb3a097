package reason

import (
	"context"

	"rideau/blocklists/lint"
	"rideau/blocklists/querylog"
	"rideau/cmd/rideau/internal/setup"
	"rideau/resolver/wire"
)

// RuleOptions say how to examine the lists of a policy.
type RuleOptions struct {
	Examples  int // how many to report of each kind; negative is all
	Logs      []Log
	LogFormat string // of the logs; empty if it is to be detected
}

// RuleReport says which entries of lists are idle, repeated or too wide.
type RuleReport struct {
	Config string    `json:"config"`
	Logs   []ReadLog `json:"logs"`
	*lint.Report
}

// Rules examines the lists of a policy, with the queries in logs, if any.
func Rules(ctx context.Context, p Policy, o RuleOptions) (*RuleReport, error) {
	out := &RuleReport{Config: setup.Name(p.Config), Logs: []ReadLog{}}
	lo := lint.Options{Examples: o.Examples}
	if len(o.Logs) > 0 {
		lo.Log = func(each func(*wire.Name)) error {
			for _, l := range o.Logs {
				read, err := l.read(o.LogFormat, func(q *querylog.Query) error {
					each(&q.Name)
					return nil
				})
				if err != nil {
					return err
				}
				out.Logs = append(out.Logs, read)
			}
			return nil
		}
	}
	var err error
	out.Report, err = lint.Check(ctx, p.Snapshot, lo)
	return out, err
}
