package evidence

import (
	"fmt"

	"rideau/config"
	section "rideau/config/evidence"
)

// Check returns what of a configuration's sinks cannot be used: certificates, secrets and keys in files. Nothing is sent, and no file is made.
func Check(cfg *config.Config) config.Problems {
	var out config.Problems
	add := func(line int, key string, err error) {
		if err != nil {
			out = append(out, config.Problem{File: cfg.File, Line: line, Key: key, Message: err.Error()})
		}
	}
	_, err := openSealKey(cfg.Evidence, nil)
	add(cfg.Line("evidence.seal.key_file"), "evidence", err)
	e := New(cfg.Evidence.Node, cfg.Evidence.Dir, Options{})
	for i, s := range cfg.Evidence.Sinks {
		if s.Kind != section.Syslog && s.Kind != section.Webhook && (s.Kind != section.Dnstap || s.Path != "") {
			continue // making the others makes a file
		}
		w, err := e.writer(s, shared{})
		if err == nil {
			err = w.Close()
		}
		add(s.Line, fmt.Sprintf("evidence.sinks[%d]", i), err)
	}
	return out
}
