package value

import (
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"

	"rideau/config/node"
)

// File parses the path of a file.
func File(v node.Value) (string, bool) {
	s, ok := node.Text(4096)(v)
	switch {
	case !ok:
	case s == "":
		v.Problem("write the path of a file", "the path is empty")
	case strings.Contains(s, "://"):
		v.Problem("write the path of a file; a list can be fetched with url", "%s is not a path", node.Quote(s))
	default:
		return s, true
	}
	return "", false
}

// FileOrNone parses the path of a file, which may be empty.
func FileOrNone(v node.Value) (string, bool) {
	if s, ok := v.Scalar(); ok && s == "" {
		return "", true
	}
	return File(v)
}

// FilePattern parses a pattern for the names of the files in a folder.
func FilePattern(v node.Value) (string, bool) {
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

// ListURL returns a parser of a URL that key has, to download from: https, or http from this machine. insecure allows http from others.
func ListURL(key string, insecure bool) node.Parse[string] {
	return func(v node.Value) (string, bool) {
		s, ok := node.Text(2048)(v)
		if !ok {
			return "", false
		}
		s = URLZone(s)
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "":
			v.Problem("write it as https://lists.example/names.txt", "%s is not a URL", node.Quote(s))
		case u.Scheme != "https" && u.Scheme != "http":
			v.Problem("use https", "%s cannot be fetched", node.Quote(u.Scheme+"://"))
		case u.Scheme == "http" && !insecure && !isLoopback(u.Hostname()):
			v.Problem("use https; or write insecure_http: true, and a public_key so that nobody on the way can change the list", "%s is fetched without encryption", key)
		case u.Fragment != "":
			v.Problem("remove it", "the URL has a fragment, #%s", u.EscapedFragment())
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

// SignatureURL returns the default URL of the signature of what is at a URL: its path with .minisig at the end.
func SignatureURL(raw string) string {
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

// DisplayURL returns a URL for messages: without the password, and without what follows a ?, which often is a secret too.
func DisplayURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	u.User = nil
	if u.RawQuery != "" {
		u.RawQuery = "..."
	}
	return u.String()
}

// ProxyURL parses the URL of an HTTP proxy, which may be empty.
func ProxyURL(v node.Value) (string, bool) {
	s, ok := v.Scalar()
	if ok && s == "" {
		return "", true
	}
	s = URLZone(s)
	u, err := url.Parse(s)
	if !ok || err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		v.Wrong("the URL of a proxy", "write it as http://proxy.example:3128")
		return "", false
	}
	return s, true
}

// WebAddress parses an http or https URL for people to open.
func WebAddress(v node.Value) (string, bool) {
	s, ok := node.Text(2048)(v)
	if !ok {
		return "", false
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.Contains(s, " ") {
		v.Wrong("a web address", "write one that begins with https:// or http://, or remove the key")
		return "", false
	}
	return s, true
}
