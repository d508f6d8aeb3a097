package evidence

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"rideau/cmd/rideau/internal/files"
	config "rideau/config/evidence"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/alert"
	"rideau/resolver/audit/dial"
	"rideau/resolver/audit/sink"
	"rideau/resolver/audit/webhook"
)

// webhookWriter makes the Writer of a sink of kind webhook.
func webhookWriter(s config.Sink, version string) (sink.Writer, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, err
	}
	a, err := files.Of(s.SecretFile)
	if err == nil {
		_, err = a.Secret()
	}
	if err != nil {
		return nil, fmt.Errorf("secret_file: %w", err)
	}
	network := "tls"
	if u.Scheme == "http" {
		network = "tcp"
	}
	w, err := webhook.New(webhook.Options{URL: u, Secrets: s.SecretFile, Agent: "rideau/" + version,
		Server: dial.Options{Network: network, Address: s.Address, Name: s.Name, CAFile: s.CAFile, Pins: s.Pins, Certificate: s.Certificate, Key: s.Key}})
	if err != nil {
		return nil, err // not a nil pointer in an interface
	}
	return w, nil
}

// onlyAlerts leaves out everything but alerts.
type onlyAlerts struct{ sink.Encoder }

// Act implements sink.Encoder.
func (e onlyAlerts) Act(dst []byte, a *act.Act) []byte {
	if a.Alert == nil {
		return dst
	}
	return e.Encoder.Act(dst, a)
}

// Query implements sink.Encoder.
func (e onlyAlerts) Query(dst []byte, _ *audit.Record) []byte { return dst }

// Tried is what became of an alert that somebody tried out.
type Tried struct {
	Sink string
	Err  error
}

// TryAlerts sends an alert to each sink of a configuration that is for alerts and no file, or to those of the ids, and says what became of it. The alert
// says that it is a test. Spools are not used.
func TryAlerts(ctx context.Context, cfg config.Evidence, ids []string, o Options) ([]Tried, error) {
	e := New(cfg.Node, cfg.Dir, o)
	keys, err := openKeys(cfg, nil)
	if err != nil {
		return nil, err
	}
	var out []Tried
	for _, s := range cfg.Sinks {
		if len(ids) > 0 && !slices.Contains(ids, s.ID) || len(ids) == 0 && s.Events != config.OnlyAlerts || s.Kind == config.File || s.Kind == config.Stdout || s.Kind == config.Dnstap {
			continue
		}
		out = append(out, Tried{s.ID, e.try(ctx, &running{config: s, shared: shared{keys: keys}})})
	}
	for _, id := range ids {
		if !slices.ContainsFunc(out, func(t Tried) bool { return t.Sink == id }) {
			out = append(out, Tried{id, fmt.Errorf("there is no sink with this id to which alerts can be tried: one of kind webhook or syslog")})
		}
	}
	return out, nil
}

// try sends an alert to a sink.
func (e *Evidence) try(ctx context.Context, r *running) error {
	w, err := e.writer(r.config, r.shared)
	if err != nil {
		return err
	}
	defer w.Close()
	a := alert.Test(e.node.Run, time.Now())
	event := e.encoder(r).Act(nil, &a)
	if _, err = w.Write(ctx, [][]byte{event}); err != nil {
		return err
	}
	if s, ok := w.(sink.Settler); ok {
		return s.Settle(ctx, true)
	}
	return nil
}
