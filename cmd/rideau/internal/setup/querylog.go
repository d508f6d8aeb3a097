package setup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"rideau/cmd/rideau/internal/files"
	"rideau/config"
)

const queryLogRemedy = "make its folder, let the user that rideau runs as write there, or take the key out"

// OpenQueryLog opens the log of queries for appending; it returns nil if none is
// configured. Only the owner may read the file: it holds what each client asked. A
// link is refused: who can change it would choose the file that is written.
func OpenQueryLog(cfg *config.Config) (*os.File, error) {
	if cfg.Log.Queries == "" {
		return nil, nil
	}
	f, _, err := files.Open(cfg.Log.Queries, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	switch {
	case errors.Is(err, files.ErrLink):
		return nil, fmt.Errorf("%s: log.queries: %w; write the path that it leads to, or remove the link", Name(cfg), err)
	case err != nil:
		return nil, fmt.Errorf("%s: log.queries: %w; %s", Name(cfg), err, queryLogRemedy)
	}
	return f, nil
}

// QueryLogFolder returns an error if the log of queries cannot be opened, as far as that
// can be known without making it.
func QueryLogFolder(cfg *config.Config) error {
	if cfg.Log.Queries == "" {
		return nil
	}
	if _, err := os.Lstat(cfg.Log.Queries); err == nil {
		f, err := OpenQueryLog(cfg)
		if err == nil {
			f.Close()
		}
		return err
	}
	if _, err := os.Stat(filepath.Dir(cfg.Log.Queries)); err != nil {
		return fmt.Errorf("%s: log.queries: %w; %s", Name(cfg), err, queryLogRemedy)
	}
	return nil
}
