package server

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"rideau/cmd/rideau/internal/evidence"
	"rideau/cmd/rideau/internal/text"
	"rideau/resolver/ops"
	"rideau/resolver/wire"
)

// flush removes from the cache what a POST to /cache/flush names, and returns how
// many entries that were. It is an act.
func (s *Server) flush(ctx context.Context, f ops.Flush) (entries int, err error) {
	defer func() { s.record(evidence.Flushed(evidence.Actor(ops.CallerOf(ctx)), f, entries, err)) }()
	if f.Name == "" {
		return s.cache.Flush(), nil
	}
	// Any name can be cached, beside those of hosts that people type.
	name := new(wire.Name)
	if err = name.SetText(f.Name); strings.ContainsFunc(f.Name, func(r rune) bool { return r > unicode.MaxASCII }) {
		name, err = text.ParseName(f.Name)
	}
	if err != nil {
		return 0, fmt.Errorf("name=%q: %w: %w", f.Name, ops.ErrName, err)
	}
	if f.Tree {
		return s.cache.FlushTree(name), nil
	}
	return s.cache.FlushName(name), nil
}
