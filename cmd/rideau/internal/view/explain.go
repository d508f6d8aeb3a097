package view

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"rideau/blocklists/fingerprint"
	"rideau/cmd/rideau/internal/changes"
	"rideau/cmd/rideau/internal/reason"
	"rideau/cmd/rideau/internal/text"
	"rideau/config"
	"rideau/resolver/ops"
	"rideau/resolver/wire"
)

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }

// Invalid is the error of a question that cannot be understood. Field is name, type or
// client.
type Invalid struct {
	Field string
	Err   error
}

// Error implements error.
func (e *Invalid) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *Invalid) Unwrap() error { return e.Err }

// Explain says what a client is answered for a name, or for an address in answers, by
// the policy in force, and why. An empty type is A.
func (v *View) Explain(ctx context.Context, name, kind, client string) (*reason.Explanation, error) {
	cfg, p := v.o.Config(), v.policy()
	if p == nil {
		return nil, errors.New("no policy is loaded")
	}
	q := reason.Question{Type: wire.TypeA, Now: v.o.Now()}
	name = strings.TrimSpace(name)
	var err error
	if address, is := text.ParseAddress(name); is {
		q.Name, q.Address, q.Type = text.ReverseName(address), address, wire.TypePTR
	} else if q.Name, err = text.ParseName(name); err != nil {
		return nil, &Invalid{"name", err}
	}
	if kind = strings.TrimSpace(kind); kind != "" {
		t, ok := text.ParseType(kind)
		if !ok {
			return nil, &Invalid{"type", fmt.Errorf("%q is not a type; use A, AAAA, HTTPS, MX or another, or TYPE and a number", kind)}
		}
		q.Type = wire.Type(t)
	}
	if q.Client, err = netip.ParseAddr(strings.TrimSpace(client)); err != nil {
		return nil, &Invalid{"client", fmt.Errorf("%q is not an IP address", client)}
	}
	var out *reason.Explanation
	err = v.task(ctx, func(context.Context) (err error) {
		out, err = reason.Explain(cfg, p, q)
		return err
	})
	if err == nil && v.o.Sources.Distrusted != nil {
		out.Clock = v.o.Sources.Distrusted()
	}
	return out, err
}

// Changes is what a reload would change.
type Changes struct {
	At time.Time `json:"at"`
	// Refused says that a reload would be refused; Problems say why.
	Refused bool   `json:"refused"`
	Error   string `json:"error,omitempty"`
	Changed bool   `json:"changed"`
	// Report is nil if the configuration or a list cannot be read.
	Report   *changes.Report `json:"diff"`
	Forced   []ops.Forced    `json:"forced"`
	Problems []ops.Problem   `json:"problems"`
}

// Changes reads the configuration and the lists, as a reload does, and says what a
// reload would change. It changes nothing.
func (v *View) Changes(ctx context.Context) (*Changes, error) {
	if v.o.DryRun == nil {
		return nil, errors.New("this server has no dry run")
	}
	out := &Changes{At: v.o.Now(), Forced: []ops.Forced{}, Problems: []ops.Problem{}}
	err := v.task(context.WithoutCancel(ctx), func(context.Context) error {
		// Lists may take longer to read than a search may last; a client that has gone ends it.
		d, err := v.o.DryRun(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if out.Refused = err != nil; err != nil {
			out.Error = err.Error()
		}
		out.Changed, out.Problems, out.Forced = d.Changed, first(d.Problems), append(out.Forced, d.Forced...)
		out.Report, _ = d.Diff.(*changes.Report)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// System is the program, and how it is configured.
type System struct {
	At          time.Time     `json:"at"`
	Node        string        `json:"node"`
	Version     string        `json:"version"`
	Revision    string        `json:"revision"`
	Go          string        `json:"go"`
	Platform    string        `json:"platform"`
	Started     time.Time     `json:"started"`
	Addresses   []string      `json:"addresses"`
	Config      string        `json:"config"` // its file
	Generation  uint64        `json:"generation"`
	Policy      string        `json:"policy"`    // its fingerprint
	Distrust    string        `json:"distrusts"` // why the clock is not believed
	Certs       []Certificate `json:"certificates"`
	Store       *Store        `json:"store"`
	Sinks       []Sink        `json:"sinks"`
	SelfTest    *Test         `json:"selftest"`
	Differences []Setting     `json:"settings"`
}

// Store is the store of evidence.
type Store struct {
	Path       string    `json:"path"`
	Bytes      int64     `json:"bytes"`
	MaxBytes   int64     `json:"max_bytes"`
	Oldest     time.Time `json:"oldest,omitzero"`
	Searchable int       `json:"searchable_days"`
	Days       int       `json:"days"`
	Clients    string    `json:"clients"` // what it tells of clients
}

// Test is the last test of the bans.
type Test struct {
	At       time.Time `json:"at"`
	OK       bool      `json:"ok"`
	Asked    int       `json:"asked"`
	Problems []string  `json:"problems"`
	Untested []string  `json:"untested"`
}

// Setting is a key of the configuration whose value is not the default.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Line  int    `json:"line"`
}

// System returns facts about the program. Settings has no secrets.
func (v *View) System(settings bool) *System {
	cfg, src := v.o.Config(), &v.o.Sources
	out := &System{At: v.o.Now(), Node: v.Node(), Version: src.Build.Version, Revision: src.Build.Revision, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Started: v.started, Addresses: []string{}, Config: cfg.File, Certs: []Certificate{}, Sinks: v.sinks(), Differences: []Setting{}}
	if v.o.Addresses != nil {
		out.Addresses = append(out.Addresses, v.o.Addresses()...)
	}
	if p := v.policy(); p != nil {
		out.Generation, out.Policy = p.Generation(), fingerprint.Of(p)
	}
	if src.Distrusted != nil {
		out.Distrust = src.Distrusted()
	}
	if v.o.Certificates != nil {
		out.Certs = append(out.Certs, v.o.Certificates()...)
	}
	if path := v.storePath(); path != "" {
		e := &cfg.Evidence
		out.Store = &Store{Path: path, MaxBytes: e.Store.MaxBytes, Searchable: e.Store.Searchable, Days: e.Store.Days, Clients: string(e.Store.Clients)}
		for _, s := range e.Places() {
			if s.Path == path {
				out.Store.Clients = string(s.Clients)
			}
		}
		if src.Store != nil {
			if s := src.Store(); s != nil {
				out.Store.Bytes, out.Store.Oldest = s.Bytes, s.Oldest
			}
		}
	}
	if v.o.SelfTest != nil {
		if r := v.o.SelfTest(); r != nil {
			out.SelfTest = &Test{At: r.At, OK: r.OK, Asked: len(r.Results), Problems: append([]string{}, r.Problems()...), Untested: []string{}}
			for _, u := range r.Untested {
				out.SelfTest.Untested = append(out.SelfTest.Untested, strings.Trim(u.Ban+" "+u.Group, " ")+": "+u.Why)
			}
		}
	}
	if settings {
		out.Differences = Settings(cfg)
	}
	return out
}

// Settings returns the keys of a configuration whose values are not the defaults,
// without secrets.
func Settings(cfg *config.Config) []Setting {
	out := []Setting{}
	none, err := config.Parse(cfg.File, []byte("log: {level: info}\n"+config.EndMark+"\n"))
	if err != nil {
		return out
	}
	for _, d := range config.Differences(none, cfg) {
		value := d.After
		if secret(d.Key) {
			value = "•••"
		}
		out = append(out, Setting{d.Key, value, d.Line})
	}
	return out
}

// secret reports whether the value of a key is a secret, and not the file of one.
func secret(key string) bool {
	key = key[strings.LastIndexByte(key, '.')+1:]
	return slices.ContainsFunc([]string{"secret", "password", "token", "hash", "credential"}, func(word string) bool { return strings.Contains(key, word) }) &&
		!strings.HasSuffix(key, "_file") && !strings.HasSuffix(key, "_dir")
}
