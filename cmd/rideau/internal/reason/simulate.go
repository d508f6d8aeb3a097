package reason

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/querylog"
	"rideau/blocklists/simulate"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver/wire"
)

// Policy is a configuration with the policy that was made of its lists.
type Policy struct {
	Config   *config.Config
	Snapshot *blocklists.Snapshot
}

// SimulateOptions say what to simulate.
type SimulateOptions struct {
	Candidate Policy
	Against   *Policy   // to compare with; nil is no policy
	At        time.Time // decides which bans are in force; zero is now, as the policies were compiled
	Logs      []Log
	LogFormat string // of the logs; empty if it is to be detected
	// LeaveOut are clients whose queries do not count.
	LeaveOut []netip.Prefix
	Top      int // how many names to report of each kind of change; 0 is all
}

// Simulation says what a configuration changes for the queries in logs.
type Simulation struct {
	Candidate string `json:"candidate"`
	Against   string `json:"against,omitempty"`
	At        string `json:"at"` // the instant that decides which bans are in force
	// NotInForce are the candidate's bans that are not off and yet do nothing
	// at that instant.
	NotInForce []string  `json:"not_in_force"`
	Logs       []ReadLog `json:"logs"`
	simulate.Report
	Note string `json:"note"`
}

// ErrNoQuery is the error of a simulation with logs in which no query counts.
var ErrNoQuery = errors.New("the logs hold no query to judge")

const simulateNote = "questions alone are judged: what only an answer shows, such as an alias of a banned name, can be blocked too"

// Simulate reads the logs, and judges each query by the candidate and by what
// it is compared with.
func Simulate(o SimulateOptions) (*Simulation, error) {
	at := o.At
	if at.IsZero() {
		at = time.Now()
	}
	out := &Simulation{At: at.UTC().Format(time.RFC3339), Note: simulateNote, Candidate: setup.Name(o.Candidate.Config)}
	candidate, err := o.Candidate.side(o.At)
	if err != nil {
		return nil, err
	}
	out.NotInForce = notInForce(candidate.Policy)
	var against simulate.Side
	if o.Against != nil {
		out.Against = setup.Name(o.Against.Config)
		if against, err = o.Against.side(o.At); err != nil {
			return nil, err
		}
	}
	s := simulate.New(candidate, against)
	for _, l := range o.Logs {
		leftOut := 0
		read, err := l.read(o.LogFormat, func(q *querylog.Query) error {
			if slices.ContainsFunc(o.LeaveOut, func(p netip.Prefix) bool { return p.Contains(q.Client) }) {
				leftOut++
			} else {
				s.Count(q)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		read.LeftOut = leftOut
		out.Logs = append(out.Logs, read)
	}
	out.Report = s.Report(o.Top)
	if out.Queries == 0 {
		return nil, ErrNoQuery
	}
	return out, nil
}

// side is the policy of an instant, and whom it serves.
func (p *Policy) side(at time.Time) (simulate.Side, error) {
	snap := p.Snapshot
	if !at.IsZero() {
		snap = snap.At(at)
	}
	st, err := setup.PolicyState(p.Config, snap)
	if err != nil {
		return simulate.Side{}, err
	}
	special := func(n *wire.Name) bool { zone, _ := st.Zone(n, wire.TypeA); return zone != "" }
	return simulate.Side{Policy: snap, Serves: st.Serves, Special: special}, nil
}

// notInForce are the bans that wait for their date, or are past it.
func notInForce(s *blocklists.Snapshot) []string {
	out := []string{}
	for _, b := range s.Bans() {
		if !b.Active && b.Ban.Mode != blocklists.Off {
			out = append(out, b.Ban.ID)
		}
	}
	return out
}
