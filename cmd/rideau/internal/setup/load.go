// Package setup turns a configuration into what other packages take: upstream
// groups, cookie secrets, tokens, files.
package setup

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"rideau/config"
)

// Load reads the configuration at path; the embedded one if path is
// empty.
func Load(path string) (*config.Config, error) {
	if path == "" {
		return config.Default(), nil
	}
	if err := Regular(path); err != nil {
		return nil, fmt.Errorf("%w; give the path of a configuration file", err)
	}
	return config.Load(path)
}

// Name is what a configuration is called in messages.
func Name(c *config.Config) string {
	if c.File == "" {
		return "(inside the program)"
	}
	return c.File
}

// Regular refuses what would keep a reader waiting or reading for ever.
func Regular(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	return err
}

// Token reads the secret that lets other machines reload.
func Token(cfg *config.Config) (string, error) {
	if cfg.Ops.TokenFile == "" {
		return "", nil
	}
	b, err := os.ReadFile(cfg.Ops.TokenFile)
	if err != nil {
		return "", fmt.Errorf("%s: ops.token_file: %w; put the secret there, or take the key out", Name(cfg), err)
	}
	t := strings.TrimSpace(string(b))
	if len(t) < 16 {
		return "", fmt.Errorf("%s: ops.token_file: %s holds fewer than 16 characters; write a longer secret", Name(cfg), cfg.Ops.TokenFile)
	}
	return t, nil
}
