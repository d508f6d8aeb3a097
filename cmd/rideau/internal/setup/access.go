package setup

import (
	"fmt"
	"path/filepath"

	"rideau/cmd/rideau/internal/files"
	"rideau/config"
)

// checkSecret returns an error if others decide what is in the file of a secret, or if it is no regular file: a pipe could be read without
// end. A file that does not exist is none of its errors.
func checkSecret(cfg *config.Config, key, path string) error {
	if err := CheckSecret(path); err != nil {
		return fmt.Errorf("%s: %s: %w", Name(cfg), key, err)
	}
	return nil
}

// CheckSecret is checkSecret without the name of the configuration and of the key.
func CheckSecret(path string) error {
	a, err := files.Of(path)
	if err != nil {
		return nil
	}
	if err = Regular(path); err == nil {
		_, err = a.Secret()
	}
	return err
}

// AccessWarnings returns what others can do with the files of a configuration that they should not, with the remedies. What a start
// refuses is not among it.
func AccessWarnings(cfg *config.Config) []string {
	var out []string
	add := func(key, w string) {
		if w != "" {
			out = append(out, fmt.Sprintf("%s: %s: %s", Name(cfg), key, w))
		}
	}
	secret := func(key, path string) {
		if a, err := files.Of(path); path != "" && err == nil {
			warnings, _ := a.Secret()
			for _, w := range warnings {
				add(key, w)
			}
		}
	}
	written := func(key, path string) {
		if a, err := files.Of(path); path != "" && err == nil {
			add(key, a.Writes())
		}
	}
	secret("ops.token_file", cfg.Ops.TokenFile)
	secret("ops.users_file", cfg.Ops.UsersFile)
	for i, t := range cfg.Ops.Tokens {
		secret(fmt.Sprintf("ops.tokens[%d].file", i), t.File)
	}
	if cfg.Listen.Cookies.Enabled {
		secret("listen.cookies.secrets_file", cfg.Listen.Cookies.SecretsFile)
	}
	secret("evidence.pseudonyms.key_dir", cfg.Evidence.Pseudonyms.KeyDir)
	secret("evidence.seal.key_file", cfg.Evidence.Seal.KeyFile)
	if a, err := files.Of(cfg.Log.Queries); cfg.Log.Queries != "" && err == nil {
		add("log.queries", a.Reads())
		add("log.queries", a.Writes())
		if a.Foreign {
			add("log.queries", fmt.Sprintf("%s belongs to another user, %d; chown it to the user that rideau runs as, or remove it", cfg.Log.Queries, a.Owner))
		}
	}
	written("the configuration", cfg.File)
	for i := range cfg.Lists {
		l := &cfg.Lists[i]
		for _, path := range []string{l.File, l.Folder} {
			written("list "+l.ID, path)
		}
	}
	written("state.dir", cfg.State.Dir)
	if p := cfg.Evidence.StorePath(); p != "" && filepath.Dir(p) != cfg.State.Dir {
		written("the folder of evidence.store.path", filepath.Dir(p))
	}
	written("fetch.ca_file", cfg.Fetch.CAFile)
	for _, s := range cfg.Upstream.Servers {
		written("ca_file", s.CAFile)
	}
	for _, s := range cfg.Evidence.Sinks {
		secret("the key of the sink "+s.ID, s.Key)
		if a, err := files.Of(s.Key); s.Key != "" && err == nil {
			if _, err := a.Secret(); err != nil {
				add("the key of the sink "+s.ID, err.Error())
			}
		}
		secret("the secret_file of the sink "+s.ID, s.SecretFile)
		written("the ca_file of the sink "+s.ID, s.CAFile)
	}
	for _, path := range []string{cfg.Log.Queries, cfg.Cache.Snapshot} {
		if path != "" {
			written("the folder of "+path, filepath.Dir(path))
		}
	}
	return out
}
