package config

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"rideau/config/node"
)

// sourceKeys are the keys of which a list has exactly one.
func sourceKeys() []string { return []string{"pack", "file", "folder", "url", "names"} }

// Bounds of what a list may say of its source.
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

// readSource reads what a list says of where it comes from.
func (l *List) readSource(m *node.Mapping) {
	node.Set(m, "folder", &l.Folder, file)
	node.Set(m, "match", &l.Match, pattern)
	node.Set(m, "insecure_http", &l.InsecureHTTP, node.Boolean)
	node.Set(m, "url", &l.URL, l.address("url"))
	node.Set(m, "refresh", &l.Refresh, node.Duration(minRefresh, maxRefresh))
	node.Set(m, "max_bytes", &l.MaxBytes, node.Size(1, mostBytes))
	node.Set(m, "sha256", &l.SHA256, digest)
	node.Set(m, "public_key", &l.PublicKey, publicKey)
	node.Set(m, "signature_url", &l.SignatureURL, l.address("signature_url"))
	node.Set(m, "signature_file", &l.SignatureFile, file)
	node.Set(m, "require_serial", &l.RequireSerial, node.Boolean)
	node.Set(m, "max_growth", &l.MaxGrowth, growth)
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
			m.At(key).Problem("add public_key, or remove it", "a signature means nothing without a key")
		}
	}
	if l.PublicKey != "" {
		if l.URL != "" && l.SignatureURL == "" {
			l.SignatureURL = besideURL(l.URL)
		}
		if l.File != "" && l.SignatureFile == "" {
			l.SignatureFile = l.File + ".minisig"
		}
	}
}

// besideURL is where the signature of a URL is by default: its path with .minisig at the end.
func besideURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	u.Path += ".minisig"
	if u.RawPath != "" {
		u.RawPath += ".minisig"
	}
	return u.String()
}

// only complains of a key that means nothing for the list's source.
func only(m *node.Mapping, key, what string, sources ...string) {
	if m.Has(key) && !slices.ContainsFunc(sources, m.Has) {
		m.At(key).Problem("remove "+key, "only a list from %s has %s", what, key)
	}
}

// address is a URL to fetch from. InsecureHTTP has to be read before.
func (l *List) address(key string) node.Parse[string] {
	return func(v node.Value) (string, bool) {
		s, ok := node.Text(2048)(v)
		if !ok {
			return "", false
		}
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "":
			v.Problem("write it as https://lists.example/names.txt", "%s is not a URL", node.Quote(s))
		case u.Scheme != "https" && u.Scheme != "http":
			v.Problem("use https", "%s cannot be fetched", node.Quote(u.Scheme+"://"))
		case u.Scheme == "http" && !l.InsecureHTTP && !isLoopback(u.Hostname()):
			v.Problem("use https; or write insecure_http: true, and a public_key so that nobody on the way can change the list", "%s is fetched without encryption", key)
		case u.Fragment != "":
			v.Problem("remove it", "the URL has a fragment, #%s", u.Fragment)
		default:
			return s, true
		}
		return "", false
	}
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// pattern is a pattern for names of files.
func pattern(v node.Value) (string, bool) {
	s, ok := node.Text(255)(v)
	if !ok {
		return "", false
	}
	if _, err := filepath.Match(s, "x"); err != nil || s == "" || strings.ContainsAny(s, `/\`) {
		v.Problem(`write a pattern such as "*.txt"`, "%s is no pattern for the names of files in a folder", node.Quote(s))
		return "", false
	}
	return s, true
}

// digest is a SHA-256 in hex, in lower case.
func digest(v node.Value) (string, bool) {
	s, _ := v.Scalar()
	s = strings.ToLower(s)
	if b, err := hex.DecodeString(s); err != nil || len(b) != 32 {
		v.Wrong("a SHA-256 digest", "write the 64 hexadecimal digits that sha256sum prints")
		return "", false
	}
	return s, true
}

// publicKey is a minisign key: the algorithm Ed, eight octets of key id, and an Ed25519 key.
func publicKey(v node.Value) (string, bool) {
	s, _ := v.Scalar()
	s = strings.TrimSpace(s)
	if b, err := base64.StdEncoding.DecodeString(s); err != nil || len(b) != 42 || string(b[:2]) != "Ed" {
		v.Wrong("a minisign public key", "write the second line of the .pub file, which begins with RW")
		return "", false
	}
	return s, true
}

// growth is a factor of at least 1.
func growth(v node.Value) (float64, bool) {
	const remedy = "use a number from 1, such as 10 for ten times as many"
	s, _ := v.Scalar()
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil:
		v.Wrong("a number", remedy)
	case math.IsNaN(f) || math.IsInf(f, 0) || f < 1:
		v.Problem(remedy, "%s is out of range", node.Quote(s))
	default:
		return f, true
	}
	return 0, false
}

// Name is what messages call the source of a list: the path or the URL, without a password, and without what stands
// after a ?, which often is a key.
func (l *List) Name() string {
	switch {
	case l.URL != "":
		if u, err := url.Parse(l.URL); err == nil {
			u.User = nil
			if u.RawQuery != "" {
				u.RawQuery = "..."
			}
			return u.String()
		}
		return l.URL
	case l.Folder != "":
		return filepath.Join(l.Folder, l.Match)
	case l.File != "":
		return l.File
	case l.Pack != "":
		return l.Pack
	}
	return fmt.Sprintf("line %d", l.Line)
}
