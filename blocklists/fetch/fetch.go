// Package fetch downloads lists and keeps them: a [Client] downloads, [Verify] verifies signatures, a [Store] has the last good copy of
// each list on disk, and a [Schedule] says when the next download is due.
//
// A download is written to a file as it arrives, with limits on its size and its time; it is never in memory as a whole. Content that is
// not a list (a web page, nothing, half of a file) is refused here. Whether a list is good is for the caller to decide, before
// [Store.Commit] makes it the last good copy.
//
// Names are looked up at resolvers that the caller chooses, never at the system's, which may be the process that downloads.
package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Options go with [New].
type Options struct {
	// Bootstrap are the resolvers that are asked for the addresses of servers, in this order. If there is none, only URLs with an address work.
	Bootstrap []netip.AddrPort
	// Proxy is the HTTP proxy to use; nil for none. What the environment says about proxies is ignored.
	Proxy *url.URL
	// CAFile is the path of a PEM file with certificates that are trusted beside the system's; empty for none.
	CAFile string
	// UserAgent is the User-Agent of each request.
	UserAgent string
	// Timeout is the time for one download, from the first lookup to the last octet.
	Timeout time.Duration
}

// Client downloads files. It is safe for concurrent use.
type Client struct {
	o    Options
	http *http.Client
}

// New makes a Client. The error, if any, is about CAFile. The caller calls Close at the end.
func New(o Options) (*Client, error) {
	roots, err := roots(o.CAFile)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		DialContext:            (&dialer{servers: o.Bootstrap}).dial,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    15 * time.Second,
		MaxResponseHeaderBytes: 1 << 18,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        10 * time.Second,
	}
	if o.Proxy != nil {
		t.Proxy = http.ProxyURL(o.Proxy)
	}
	return &Client{o, &http.Client{Transport: t, CheckRedirect: checkRedirect}}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// roots returns the system's certificates and those in a file; nil for the system's only.
func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("fetch.ca_file: %w; put the certificates there, or take the key out", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil { // a system without any
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("fetch.ca_file: %s holds no certificate; write PEM, which begins with -----BEGIN CERTIFICATE-----", file)
	}
	return pool, nil
}

// Request says what to download.
type Request struct {
	URL string
	// Insecure allows http from other hosts. A redirect from https to http is refused even then.
	Insecure bool
	// ETag and LastModified are the validators of what the caller has; they may be empty. If the server has nothing newer, the Result is
	// NotModified.
	ETag, LastModified string
	// MaxBytes is the largest size of the content, after decompression.
	MaxBytes int64
	// Dir is the folder of the downloaded file. After an error there is no file.
	Dir string
}

// Result is the result of a download.
type Result struct {
	NotModified bool
	// File is the path of the content. The caller owns it: it renames or removes the file.
	File               string
	Size               int64
	SHA256             [sha256.Size]byte
	ETag, LastModified string
}

// Errors of downloads, for errors.Is.
var (
	ErrTooLarge  = errors.New("larger than max_bytes")
	ErrEmpty     = errors.New("the download is empty")
	ErrWebPage   = errors.New("a web page, not a list")
	ErrTruncated = errors.New("the download was cut off")
	ErrRedirect  = errors.New("redirect refused")
)

// errTimeout is context.DeadlineExceeded with a message for operators.
var errTimeout = fmt.Errorf("it did not come in time: %w", context.DeadlineExceeded)

// StatusError is a response with a status other than 200 and 304.
type StatusError struct {
	Code int
	// After is how long to wait, as the server's Retry-After says; 0 if it does not say.
	After time.Duration
}

func (e *StatusError) Error() string {
	remedy := "it is tried again"
	switch {
	case e.Code == http.StatusUnauthorized || e.Code == http.StatusForbidden:
		remedy = "see whether the server lets this machine have the list"
	case e.Code < http.StatusInternalServerError && e.Code != http.StatusTooManyRequests && e.Code != http.StatusRequestTimeout:
		remedy = "correct the URL of the list"
	}
	return fmt.Sprintf("the server answered %d %s; %s", e.Code, http.StatusText(e.Code), remedy)
}

// Display returns a URL without user and password, for messages.
func Display(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	u.User = nil
	return u.String()
}

// Get downloads a file. An error has the remedy, and neither the list nor the URL.
func (c *Client) Get(ctx context.Context, r Request) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	resp, err := c.do(ctx, r)
	if err != nil {
		return Result{}, c.explain(ctx, err)
	}
	defer resp.Body.Close()
	res := Result{ETag: resp.Header.Get("ETag"), LastModified: resp.Header.Get("Last-Modified")}
	switch {
	case resp.StatusCode == http.StatusNotModified && (r.ETag != "" || r.LastModified != ""):
		res.NotModified = true
		return res, nil
	case resp.StatusCode != http.StatusOK:
		return Result{}, &StatusError{resp.StatusCode, retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	}
	if err := refuseHeader(resp, r.MaxBytes); err != nil {
		return Result{}, err
	}
	if err := res.save(resp.Body, r); err != nil {
		return Result{}, c.explain(ctx, err)
	}
	return res, nil
}

func (c *Client) do(ctx context.Context, r Request) (*http.Response, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, errors.New("the URL is not understood; correct it")
	}
	if !allowed(u, r.Insecure) {
		return nil, fmt.Errorf("%s is not encrypted; use https, or set insecure_http for the list", u.Scheme)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return nil, errors.New("the URL is not understood; correct it")
	}
	req.Header.Set("User-Agent", c.o.UserAgent)
	if r.ETag != "" {
		req.Header.Set("If-None-Match", r.ETag)
	}
	if r.LastModified != "" {
		req.Header.Set("If-Modified-Since", r.LastModified)
	}
	return c.http.Do(req)
}

// allowed reports whether a URL may be downloaded: always by https, by http from this machine or if the operator allows it.
func allowed(u *url.URL, insecure bool) bool {
	switch u.Scheme {
	case "https":
		return true
	case "http":
		return insecure || Loopback(u.Hostname())
	}
	return false
}

// Loopback reports whether a host is a loopback address or the name localhost (RFC 6761 section 6.3).
func Loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback() || strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
}

const maxRedirects = 5

// checkRedirect allows a few redirects to https, and redirects from http to http on this machine.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("%w: more than %d in a row", ErrRedirect, maxRedirects)
	}
	if req.URL.Scheme == "https" {
		return nil
	}
	if req.URL.Scheme == "http" && via[len(via)-1].URL.Scheme == "http" && Loopback(req.URL.Hostname()) {
		return nil
	}
	return fmt.Errorf("%w: it leads to %s on %s, and only https is followed; correct the URL of the list", ErrRedirect, req.URL.Scheme, req.URL.Hostname())
}

// refuseHeader refuses a response whose header shows that the content is not a list.
func refuseHeader(resp *http.Response, most int64) error {
	if t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err == nil && (t == "text/html" || t == "application/xhtml+xml") {
		return fmt.Errorf("%w (its type is %s); open the URL in a browser, and correct it", ErrWebPage, t)
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return fmt.Errorf("the server sends the encoding %q, which was not asked for; use another URL", e)
	}
	if resp.ContentLength > most {
		return fmt.Errorf("%w: %d octets, and %d are allowed; raise max_bytes if that is right", ErrTooLarge, resp.ContentLength, most)
	}
	return nil
}

// save writes the content to a file, and syncs it to disk.
func (res *Result) save(body io.Reader, r Request) (err error) {
	f, err := os.CreateTemp(r.Dir, tempPattern)
	if err != nil {
		return err
	}
	res.File = f.Name()
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
		if err != nil {
			os.Remove(res.File)
		}
	}()
	sum := sha256.New()
	head := &heading{}
	res.Size, err = io.Copy(io.MultiWriter(f, sum, head), io.LimitReader(body, r.MaxBytes+1))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w after %d octets; it is tried again", ErrTruncated, res.Size)
	case err != nil:
		return err
	case res.Size > r.MaxBytes:
		return fmt.Errorf("%w: more than %d octets; raise max_bytes if that is right", ErrTooLarge, r.MaxBytes)
	case len(bytes.TrimSpace(head.text)) == 0 && res.Size < maxHeading:
		return fmt.Errorf("%w; it is tried again", ErrEmpty)
	case head.web():
		return fmt.Errorf("%w; open the URL in a browser, and correct it", ErrWebPage)
	}
	sum.Sum(res.SHA256[:0])
	return f.Sync()
}

const maxHeading = 1024

// heading keeps the first octets of what is written.
type heading struct{ text []byte }

func (h *heading) Write(p []byte) (int, error) {
	h.text = append(h.text, p[:min(len(p), maxHeading-len(h.text))]...)
	return len(p), nil
}

// web reports whether the text begins like a web page, whatever the Content-Type is.
func (h *heading) web() bool {
	t := bytes.ToLower(bytes.TrimLeft(bytes.TrimPrefix(h.text, []byte("\xef\xbb\xbf")), " \t\r\n"))
	for _, p := range []string{"<!doctype html", "<html", "<head", "<body", "<script", "<?xml", "<!--"} {
		if bytes.HasPrefix(t, []byte(p)) {
			return true
		}
	}
	return false
}

// explain shortens an error of net/http, and adds the remedy.
func (c *Client) explain(ctx context.Context, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // u has the URL with its password
	}
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var opErr *net.OpError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%w; it is tried again, or raise fetch.timeout (%v)", errTimeout, c.o.Timeout)
	case errors.As(err, &unknown):
		return fmt.Errorf("%w; put the certificate of your authority into fetch.ca_file", err)
	case errors.As(err, &host):
		return fmt.Errorf("%w; use the name that the certificate has", err)
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return fmt.Errorf("%w; it is tried again", ErrTruncated)
	case errors.As(err, &opErr):
		return fmt.Errorf("%w; see whether this machine reaches the server", err)
	}
	return err
}

// retryAfter parses the field Retry-After (RFC 9110 section 10.2.3).
func retryAfter(v string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}
