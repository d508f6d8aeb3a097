package setup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"rideau/config"
)

const queryLogRemedy = "make its folder, let the user that rideau runs as write there, or take the key out"

// OpenQueryLog opens the file that a configuration names; nil if it names
// none. Only its owner may read it: it tells who asked what.
func OpenQueryLog(cfg *config.Config) (*os.File, error) {
	if cfg.Log.Queries == "" {
		return nil, nil
	}
	err := Regular(cfg.Log.Queries) // to open a pipe would wait for who reads it
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: log.queries: %w; %s", Name(cfg), err, queryLogRemedy)
	}
	f, err := os.OpenFile(cfg.Log.Queries, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: log.queries: %w; %s", Name(cfg), err, queryLogRemedy)
	}
	return f, nil
}

// QueryLogFolder looks whether the log could be made, and makes nothing.
func QueryLogFolder(cfg *config.Config) error {
	if cfg.Log.Queries == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Dir(cfg.Log.Queries)); err != nil {
		return fmt.Errorf("%s: log.queries: %w; %s", Name(cfg), err, queryLogRemedy)
	}
	return nil
}
