// Package setup turns a configuration into what other packages take: upstream
// groups, cookie secrets, tokens, files.
package setup

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"rideau/config"
	"rideau/resolver/ops/access"
)

// Load reads the configuration at path; if path is empty, it returns the one
// inside the program.
func Load(path string) (*config.Config, error) {
	if path == "" {
		return config.Default(), nil
	}
	if err := Regular(path); err != nil {
		return nil, fmt.Errorf("%w; give the path of a configuration file", err)
	}
	return config.Load(path)
}

// Name returns what messages call a configuration.
func Name(c *config.Config) string {
	if c.File == "" {
		return config.DefaultName
	}
	return c.File
}

// Regular returns an error for a path that is no regular file: a pipe or a device
// could be read without end.
func Regular(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	return err
}

// Access says who may use the operators' HTTP, as far as the configuration and the files that it names do.
func Access(cfg *config.Config) (*access.Settings, error) {
	out := &access.Settings{Hosts: cfg.Ops.Hosts}
	secret, err := Token(cfg)
	if err != nil {
		return nil, err
	}
	if secret != "" {
		out.Tokens = append(out.Tokens, access.NewToken("ops.token_file", access.Operator, secret))
	}
	return out, nil
}

// Token reads the secret that the operators' HTTP demands from other machines;
// it returns "" if none is configured.
func Token(cfg *config.Config) (string, error) {
	if cfg.Ops.TokenFile == "" {
		return "", nil
	}
	if err := checkSecret(cfg, "ops.token_file", cfg.Ops.TokenFile); err != nil {
		return "", err
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
