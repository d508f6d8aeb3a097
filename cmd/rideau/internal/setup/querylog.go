package setup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"rideau/config"
)

const queryLogRemedy = "make its folder, let the user that rideau runs as write there, or take the key out"

// OpenQueryLog opens the log of queries for appending; it returns nil if none is
// configured. Only the owner may read the file: it holds what each client asked.
func OpenQueryLog(cfg *config.Config) (*os.File, error) {
	if cfg.Log.Queries == "" {
		return nil, nil
	}
	err := Regular(cfg.Log.Queries) // opening a pipe would wait for its reader
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: log.queries: %w; %s", Name(cfg), err, queryLogRemedy)
	}
	f, err := os.OpenFile(cfg.Log.Queries, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: log.queries: %w; %s", Name(cfg), err, queryLogRemedy)
	}
	return f, nil
}

// QueryLogFolder returns an error if there is no folder for the log of queries. It
// makes nothing.
func QueryLogFolder(cfg *config.Config) error {
	if cfg.Log.Queries == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Dir(cfg.Log.Queries)); err != nil {
		return fmt.Errorf("%s: log.queries: %w; %s", Name(cfg), err, queryLogRemedy)
	}
	return nil
}
