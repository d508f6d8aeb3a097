// Package webhook delivers events to a program over HTTP, one request for each,
// signed as the specification Standard Webhooks demands, for which libraries exist
// in most languages.
//
// A request is a POST of the event as JSON with three headers:
//
//	webhook-id         the id of the event: the same when it is delivered again
//	webhook-timestamp  when this request was made, in Unix seconds
//	webhook-signature  v1, and the HMAC-SHA256 of "ID.TIMESTAMP.BODY" in base64
//
// A receiver checks the signature, refuses a timestamp that is more than minutes
// from its clock, and remembers the ids of that time: then nobody can make up a
// request or send one again. During a change of secrets there are two signatures,
// with a space between them.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/dial"
	"rideau/resolver/audit/sink"
)

const (
	// timeout is for one request, connecting included.
	timeout = 15 * time.Second
	// maxReply is how much of a response is read.
	maxReply = 4 << 10
	// minSecret is the length of a secret in octets.
	minSecret = 24
	// maxSecrets is the number of secrets that a file may have.
	maxSecrets = 2
)

// Options say where events go.
type Options struct {
	URL *url.URL // http or https
	// Server is where the server of the URL is, and how it authenticates itself
	// if the URL has the scheme https. Its Network is tcp or tls.
	Server dial.Options
	// Secrets is a file with a secret on a line, or two while they are changed. It
	// is read for each request.
	Secrets string
	// Agent is what Rideau calls itself.
	Agent string
}

// Writer delivers each event by a request. It is for one goroutine. It implements
// [sink.Writer].
type Writer struct {
	o      Options
	client *http.Client
	now    func() time.Time
}

// New makes a Writer. It fails if a file that it needs cannot be used. Nothing is
// sent.
func New(o Options) (*Writer, error) {
	if err := o.Server.Check(); err != nil {
		return nil, err
	}
	if _, err := secrets(o.Secrets); err != nil {
		return nil, err
	}
	connect := func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := o.Server.Dial(ctx)
		if err != nil {
			return nil, err // not a nil pointer in an interface
		}
		return c, nil
	}
	transport := &http.Transport{DialContext: connect, DialTLSContext: connect, MaxIdleConns: 1, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: timeout,
		MaxResponseHeaderBytes: 64 << 10, DisableCompression: true}
	// Redirects are not followed: a signed event is for the server that was configured.
	client := &http.Client{Transport: transport, Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &Writer{o: o, client: client, now: time.Now}, nil
}

// secrets reads the secrets in a file: as they are, or in base64 behind whsec_.
func secrets(path string) ([][]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("secret_file: %w", err)
	}
	var out [][]byte
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		secret := []byte(line)
		if coded, ok := strings.CutPrefix(line, "whsec_"); ok {
			if secret, err = base64.StdEncoding.DecodeString(coded); err != nil {
				return nil, fmt.Errorf("secret_file: %s: what follows whsec_ is not base64", path)
			}
		}
		if len(secret) < minSecret {
			return nil, fmt.Errorf("secret_file: %s: a secret needs %d octets at least; make one with: openssl rand -base64 32", path, minSecret)
		}
		out = append(out, secret)
	}
	if len(out) == 0 || len(out) > maxSecrets {
		return nil, fmt.Errorf("secret_file: %s has %d secrets; write one on a line, or two while they are changed", path, len(out))
	}
	return out, nil
}

// Sign is the value of the header webhook-signature.
func Sign(secrets [][]byte, id, timestamp string, body []byte) string {
	var out []string
	for _, s := range secrets {
		h := hmac.New(sha256.New, s)
		fmt.Fprintf(h, "%s.%s.", id, timestamp)
		h.Write(body)
		out = append(out, "v1,"+base64.StdEncoding.EncodeToString(h.Sum(nil)))
	}
	return strings.Join(out, " ")
}

// Encoder puts the id of an act before what another Encoder makes of it, for a
// Writer.
type Encoder struct {
	sink.Encoder
	// ID appends the id of an act.
	ID func(dst []byte, number uint64) []byte
}

// split returns the id and the body of an event that an Encoder made.
func split(event []byte) (id string, body []byte) {
	i, b, _ := bytes.Cut(event, []byte{'\n'})
	return string(i), b
}

// Write implements sink.Writer.
func (w *Writer) Write(ctx context.Context, events [][]byte) (int, error) {
	for n, e := range events {
		if err := w.post(ctx, e); err != nil {
			return n, err
		}
	}
	return len(events), nil
}

// post delivers one event. The error is a sink.Refused if the server will never take it.
func (w *Writer) post(ctx context.Context, event []byte) error {
	keys, err := secrets(w.o.Secrets)
	if err != nil {
		return err
	}
	id, body := split(event)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.o.URL.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	stamp := strconv.FormatInt(w.now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", w.o.Agent)
	r.Header.Set("webhook-id", id)
	r.Header.Set("webhook-timestamp", stamp)
	r.Header.Set("webhook-signature", Sign(keys, id, stamp, body))
	resp, err := w.client.Do(r)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, maxReply))
	return verdict(resp)
}

// withoutURL is an error of the client without the URL, whose path may be secret.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// verdict returns what a response says of the event.
func verdict(resp *http.Response) error {
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		return fmt.Errorf("the server redirects (%d), which is not followed: write the URL to which it does", code)
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge, code == http.StatusUnsupportedMediaType, code == http.StatusUnprocessableEntity:
		return &sink.Refused{Err: fmt.Errorf("the server does not take the event (%d)", code)}
	default:
		return fmt.Errorf("the server takes no events (%d)", code)
	}
}

// Close implements sink.Writer.
func (w *Writer) Close() error {
	w.client.CloseIdleConnections()
	return nil
}

// Act implements sink.Encoder.
func (e Encoder) Act(dst []byte, a *act.Act) []byte {
	begin := len(dst)
	dst = append(e.ID(dst, a.Number), '\n')
	head := len(dst)
	if dst = e.Encoder.Act(dst, a); len(dst) == head {
		return dst[:begin]
	}
	return dst
}

// Query implements sink.Encoder. Queries have too little to say, and are too many.
func (e Encoder) Query(dst []byte, _ *audit.Record) []byte { return dst }
