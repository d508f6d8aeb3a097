package evidence

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"rideau/cmd/rideau/internal/files"
	config "rideau/config/evidence"
	"rideau/resolver/audit/privacy"
)

// keys are the keys of pseudonyms, and what they were opened with.
type keys struct {
	config config.Pseudonyms
	keys   *privacy.Keys
}

// openKeys opens the keys of pseudonyms if a sink needs them. If they are those of before, it returns before.
func openKeys(cfg config.Evidence, before *keys) (*keys, error) {
	if !slices.ContainsFunc(cfg.Places(), func(s config.Sink) bool { return s.Clients == config.Pseudonym }) {
		return nil, nil
	}
	p := cfg.Pseudonyms
	if before != nil && before.config == p {
		return before, nil
	}
	k, err := privacy.Open(privacy.KeyOptions{Dir: p.KeyDir, Rotate: p.Rotate, Keep: p.Keep})
	if err == nil {
		err = checkKeys(p.KeyDir)
	}
	if err != nil {
		return nil, fmt.Errorf("evidence.pseudonyms.key_dir: %w", err)
	}
	return &keys{p, k}, nil
}

// checkKeys returns an error if others decide what is in a folder of keys.
func checkKeys(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*"+privacy.Suffix))
	if err != nil {
		return err
	}
	for _, path := range append(paths, dir) {
		a, err := files.Of(path)
		if err == nil {
			_, err = a.Secret()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// renewKeys makes a new key of pseudonyms if it is time, and removes old ones.
func (e *Evidence) renewKeys() {
	e.mu.Lock()
	k := e.shared.keys
	e.mu.Unlock()
	if k == nil {
		return
	}
	next, err := k.keys.Renew()
	if err != nil {
		e.o.Logger.Warn("keys of pseudonyms could not be renewed", "error", err)
	}
	// The system's clock may be set: look at it at least once an hour.
	e.renew.Reset(min(max(time.Until(next), time.Second), time.Hour))
}

// tell returns what tells of clients' addresses.
func (r *running) tell() func([]byte, netip.Addr) []byte {
	var k *privacy.Keys
	if r.shared.keys != nil {
		k = r.shared.keys.keys
	}
	return privacy.Teller(privacy.Clients(r.config.Clients), k)
}
