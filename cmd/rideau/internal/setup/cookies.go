package setup

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"os"
	"strings"

	"rideau/config"
	"rideau/resolver/cookie"
)

// Jar returns what makes and checks DNS cookies; nil if they are off. own is the
// secret to use where the configuration names none.
func Jar(cfg *config.Config, own cookie.Secret) (*cookie.Jar, error) {
	if !cfg.Listen.Cookies.Enabled {
		return nil, nil
	}
	path := cfg.Listen.Cookies.SecretsFile
	if path == "" {
		return cookie.New(own), nil
	}
	if err := checkSecret(cfg, "listen.cookies.secrets_file", path); err != nil {
		return nil, err
	}
	secrets, err := readSecrets(path)
	if err != nil {
		return nil, fmt.Errorf("%s: listen.cookies.secrets_file: %w", Name(cfg), err)
	}
	return cookie.New(secrets...), nil
}

// maxSecrets limits the secrets: a cookie that was made with none of them costs a
// hash for each.
const maxSecrets = 4

// readSecrets reads a file with a secret on each line. It skips empty lines and
// those that begin with #.
func readSecrets(path string) ([]cookie.Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w; write a secret there (openssl rand -hex 16), or take the key out", err)
	}
	defer f.Close()
	var out []cookie.Secret
	s := bufio.NewScanner(f)
	for line := 1; s.Scan(); line++ {
		text := strings.TrimSpace(s.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		k, err := cookie.ParseSecret(text)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w; make one with: openssl rand -hex 16", path, line, err)
		}
		if len(out) == maxSecrets {
			return nil, fmt.Errorf("%s:%d: more than %d secrets; take out the oldest", path, line, maxSecrets)
		}
		out = append(out, k)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no secret; write one there: openssl rand -hex 16", path)
	}
	return out, nil
}

// NewSecret returns a random secret.
func NewSecret() (s cookie.Secret) {
	rand.Read(s[:]) // never fails
	return s
}
