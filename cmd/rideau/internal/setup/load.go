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

// Token reads the secret that the operators' HTTP demands from other machines;
// it returns "" if none is configured.
func Token(cfg *config.Config) (string, error) {
	if cfg.Ops.TokenFile == "" {
		return "", nil
	}
	t, err := Secret(cfg.Ops.TokenFile)
	if err != nil {
		return "", fmt.Errorf("%s: ops.token_file: %w", Name(cfg), err)
	}
	return t, nil
}

// Secret reads the file of a secret. The error names the file and a remedy.
func Secret(path string) (string, error) {
	if err := CheckSecret(path); err != nil {
		return "", err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%w; put the secret there, or take the key out", err)
	}
	t := strings.TrimSpace(string(b))
	if len(t) < 16 {
		return "", fmt.Errorf("%s holds fewer than 16 characters; write a longer secret", path)
	}
	return t, nil
}
