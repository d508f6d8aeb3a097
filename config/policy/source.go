package policy

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"rideau/config/node"
	"rideau/config/value"
)

// sourceKeys returns the keys of which a list has exactly one.
func sourceKeys() []string { return []string{"pack", "file", "folder", "url", "names"} }

// Limits and defaults of what a list says about its source.
const (
	minRefresh     = time.Minute
	maxRefresh     = 30 * 24 * time.Hour
	defaultRefresh = 24 * time.Hour
	defaultBytes   = 64 << 20
	mostBytes      = 4 << 30
	defaultEntries = 20_000_000
	mostEntries    = 1_000_000_000
	defaultGrowth  = 10
)

// readSource reads the keys that say where a list comes from.
func (l *List) readSource(m *node.Mapping) {
	node.Set(m, "folder", &l.Folder, value.File)
	node.Set(m, "match", &l.Match, value.FilePattern)
	node.Set(m, "insecure_http", &l.InsecureHTTP, node.Boolean)
	node.Set(m, "url", &l.URL, value.ListURL("url", l.InsecureHTTP))
	node.Set(m, "refresh", &l.Refresh, node.Duration(minRefresh, maxRefresh))
	node.Set(m, "max_bytes", &l.MaxBytes, node.Size(1, mostBytes))
	node.Set(m, "sha256", &l.SHA256, value.SHA256)
	node.Set(m, "public_key", &l.PublicKey, value.PublicKey)
	node.Set(m, "signature_url", &l.SignatureURL, value.ListURL("signature_url", l.InsecureHTTP))
	node.Set(m, "signature_file", &l.SignatureFile, value.File)
	node.Set(m, "require_serial", &l.RequireSerial, node.Boolean)
	node.Set(m, "max_growth", &l.MaxGrowth, value.Growth)
	node.Set(m, "max_entries", &l.MaxEntries, node.Integer(1, mostEntries))
	node.Set(m, "may_block_protected", &l.MayBlockProtected, node.Boolean)
	only(m, "match", "a folder", "folder")
	for _, key := range []string{"refresh", "max_bytes", "insecure_http", "signature_url"} {
		only(m, key, "a url", "url")
	}
	for _, key := range []string{"sha256", "public_key", "require_serial"} {
		only(m, key, "a file or a url", "file", "url")
	}
	only(m, "signature_file", "a file", "file")
	only(m, "may_block_protected", "a file or a folder", "file", "folder")
	for _, key := range []string{"signature_url", "signature_file"} {
		if m.Has(key) && !m.Has("public_key") {
			m.At(key).Problem("add public_key, or remove it", "there is no key to verify the signature with")
		}
	}
	if l.PublicKey != "" {
		if l.URL != "" && l.SignatureURL == "" {
			l.SignatureURL = value.SignatureURL(l.URL)
		}
		if l.File != "" && l.SignatureFile == "" {
			l.SignatureFile = l.File + ".minisig"
		}
	}
}

// only refuses a key that has no meaning for the list's source.
func only(m *node.Mapping, key, what string, sources ...string) {
	if m.Has(key) && !slices.ContainsFunc(sources, m.Has) {
		m.At(key).Problem("remove "+key, "only a list from %s has %s", what, key)
	}
}

// Name returns the source of a list for messages: the path, or the URL without its secrets.
func (l *List) Name() string {
	switch {
	case l.URL != "":
		return value.DisplayURL(l.URL)
	case l.Folder != "":
		return filepath.Join(l.Folder, l.Match)
	case l.File != "":
		return l.File
	case l.Pack != "":
		return l.Pack
	}
	return fmt.Sprintf("line %d", l.Line)
}
