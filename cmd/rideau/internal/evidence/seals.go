package evidence

import (
	"fmt"
	"time"

	"rideau/cmd/rideau/internal/files"
	config "rideau/config/evidence"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/lines"
	"rideau/resolver/audit/seal"
	"rideau/resolver/audit/sink"
)

// shared is what several sinks may need. Each of it is nil if it is not needed.
type shared struct {
	keys  *keys
	seals *sealKey
}

// of returns what one sink needs.
func (s shared) of(c config.Sink) (need shared) {
	if c.Clients == config.Pseudonym {
		need.keys = s.keys
	}
	if c.Seal {
		need.seals = s.seals
	}
	return need
}

// sealKey is the key of seals, and what it was opened with.
type sealKey struct {
	config config.Seal
	key    *seal.Key
}

// openSealKey reads the key of seals if a sink needs it. If it is that of before, it returns before.
func openSealKey(cfg config.Evidence, before *sealKey) (*sealKey, error) {
	needed := false
	for _, s := range cfg.Sinks {
		needed = needed || s.Seal
	}
	if !needed {
		return nil, nil
	}
	a, err := files.Of(cfg.Seal.KeyFile)
	if err == nil {
		_, err = a.Secret()
	}
	var k *seal.Key
	if err == nil {
		k, err = seal.LoadKey(cfg.Seal.KeyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("evidence.seal.key_file: %w", err)
	}
	if before != nil && before.config == cfg.Seal && before.key.String() == k.String() {
		return before, nil
	}
	return &sealKey{cfg.Seal, k}, nil
}

// sealed makes the Writer of a sealed file. Each seal is an act, so that other sinks hold it, too.
func (e *Evidence) sealed(s config.Sink, o lines.Options, k *sealKey) (sink.Writer, error) {
	w, err := seal.NewWriter(seal.Options{File: o, Key: k.key, Node: e.node.Name, Sink: s.ID, Every: k.config.Every, Tail: k.config.Within, Lines: k.config.Events, Logger: e.o.Logger,
		Sealed: func(h seal.Head) {
			e.mu.Lock()
			last := e.last
			e.mu.Unlock()
			e.acts.Add(act.Act{Kind: act.Seal, Time: time.Now(), Actor: act.Actor{Way: act.ByItself}, Object: s.ID, Reason: h.String(),
				Policy: last.Policy, Config: last.Config, Distrusted: last.Distrusted, Uptime: e.o.Uptime()})
		}})
	if err != nil {
		return nil, err // not a nil pointer in an interface
	}
	return w, nil
}

// withoutSeals leaves out the acts that are seals, for sinks that are sealed themselves: each would need the next seal.
type withoutSeals struct{ sink.Encoder }

// Act implements sink.Encoder.
func (e withoutSeals) Act(dst []byte, a *act.Act) []byte {
	if a.Kind == act.Seal {
		return dst
	}
	return e.Encoder.Act(dst, a)
}
