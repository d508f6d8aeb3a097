// Package doh serves DNS over HTTPS (RFC 8484), by HTTP/1.1 and HTTP/2 with a [Listener],
// and by HTTP/3 with a [Listener3]. HTTP/1.1 is net/http's, HTTP/3 quic-go's; HTTP/2 is
// the type h2, on the frames and the header compression of golang.org/x/net/http2.
//
// # What clients are answered
//
// GET has the query in the parameter dns, POST in the body. Every response by DNS
// is 200, whatever its code. Nothing of a message is looked at before its size is
// known to be good. What is no query gets an error of HTTP: see statusOf.
//
// # Bounds
//
// Connections are bounded by an [admission.Gate], requests on a connection by
// HTTP, headers and bodies by their sizes, and each request by a time from its
// first octet to its last. By HTTP/2, a request that waits counts until it is
// answered, also if its client gives it up; 1,000 frames that ask for nothing end
// the connection, and so do 256 KiB of responses that the client has no window for.
// Nothing is queued for a client that does not read: writing waits, and the
// connection is not read meanwhile.
package doh

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"rideau/blocklists/group"
	"rideau/resolver"
	"rideau/resolver/listener/proxied"
	"rideau/resolver/listener/secure"
	"rideau/resolver/listener/session"
	"rideau/resolver/wire"
)

// mediaType is that of DNS messages (RFC 8484 section 6).
const mediaType = "application/dns-message"

const (
	// maxHeader bounds the header of a request in octets. A query of 1 KiB by GET fits
	// many times over.
	maxHeader = 16 << 10
	// bufferSize holds the usual query and the usual response.
	bufferSize = 4 << 10
)

// Settings can change at any time; they hold for the requests that begin after that.
type Settings struct {
	Path   string   // where clients ask
	Paths  []string // where clients of groups ask besides
	AltSvc string   // the header that tells of HTTP/3 (RFC 7838); empty for none
}

// has reports whether clients ask at a path.
func (s *Settings) has(path string) bool { return path == s.Path || slices.Contains(s.Paths, path) }

// Handler answers requests. It is safe for concurrent use.
type Handler struct {
	transport resolver.Transport
	proxies   *proxied.Sources
	settings  atomic.Pointer[Settings]
	exchange  *session.Exchange
	buffers   sync.Pool // of *[]byte
}

func newHandler(t resolver.Transport, o Options) *Handler {
	h := &Handler{transport: t, proxies: o.Proxies}
	h.settings.Store(&o.Settings)
	h.buffers.New = func() any { return new(make([]byte, 0, bufferSize)) }
	return h
}

// Errors of HTTP, by what is wrong with a request.
var (
	errNoQuery   = errors.New("write one query of DNS into the parameter dns, in base64url without padding")
	errNoMessage = errors.New("that is no query of DNS")
	errType      = errors.New("the body has to be of type " + mediaType)
	errEncoding  = errors.New("the body must not be encoded")
	errSize      = errors.New("a message of DNS has at most 65535 octets")
	errBody      = errors.New("the body did not come")
	errHeader    = errors.New("the header is too large")
	errPath      = errors.New("there is nothing here")
	errMethod    = errors.New("use GET or POST")
	// errMany is for what is silence over UDP: the client is not served, and there were too many.
	errMany = errors.New("too many queries")
)

// statusOf is the code that goes with an error.
func statusOf(err error) int {
	switch err {
	case errType, errEncoding:
		return http.StatusUnsupportedMediaType
	case errSize:
		return http.StatusRequestEntityTooLarge
	case errBody:
		return http.StatusRequestTimeout
	case errHeader:
		return http.StatusRequestHeaderFieldsTooLarge
	case errPath:
		return http.StatusNotFound
	case errMethod:
		return http.StatusMethodNotAllowed
	case errMany:
		return http.StatusTooManyRequests
	}
	return http.StatusBadRequest
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := h.settings.Load()
	if s.AltSvc != "" {
		w.Header()["Alt-Svc"] = []string{s.AltSvc}
	}
	if !s.has(r.URL.Path) {
		http.Error(w, errPath.Error(), statusOf(errPath))
		return
	}
	in := h.buffers.Get().(*[]byte)
	defer h.put(in)
	msg, err := (*in)[:0], error(nil)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		msg, err = fromQuery(msg, r.URL.RawQuery)
	case http.MethodPost:
		msg, err = fromBody(msg, w, r)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, errMethod.Error(), statusOf(errMethod))
		return
	}
	*in = msg
	if err == nil && !isQuery(msg) {
		err = errNoMessage
	}
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	client, err := h.client(r)
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	out := h.buffers.Get().(*[]byte)
	defer h.put(out)
	ans := h.exchange.Serve(r.Context(), (*out)[:0], msg, client)
	if !session.Sendable(ans) {
		http.Error(w, errMany.Error(), statusOf(errMany))
		return
	}
	*out = ans
	header := w.Header()
	header["Content-Type"] = contentType
	header["Content-Length"] = []string{strconv.Itoa(len(ans))}
	header["Cache-Control"] = []string{"max-age=" + strconv.FormatUint(uint64(lifetime(ans)), 10)}
	w.Write(ans)
}

// contentType is the same for all responses. Nothing writes to it.
var contentType = []string{mediaType}

func (h *Handler) put(b *[]byte) {
	if cap(*b) == bufferSize {
		h.buffers.Put(b)
	}
}

// client is where a request came from.
func (h *Handler) client(r *http.Request) (session.Client, error) {
	a, _ := netip.ParseAddrPort(r.RemoteAddr) // net/http wrote it
	c := session.Client{Addr: a.Addr().Unmap().WithZone(""), Transport: h.transport}
	if who, ok := r.Context().Value(whoKey{}).(*who); ok {
		c.Claims = who.claims(r.TLS).At(r.URL.Path)
	}
	how := h.proxies.How(c.Addr)
	return relayed(h.proxies, how, c, r.Header.Values(headerOf(how)))
}

// headerOf is the header by which a proxy says for which client a request comes.
func headerOf(how proxied.How) string {
	if how == proxied.Forwarded {
		return "Forwarded"
	}
	return "X-Forwarded-For"
}

// relayed is the client for whom a proxy makes a request, or c itself if that is no proxy. What its connection says of itself, the
// proxy says of itself, but for the path. values are those of headerOf.
func relayed(all *proxied.Sources, how proxied.How, c session.Client, values []string) (session.Client, error) {
	if how != proxied.Forwarded && how != proxied.XForwardedFor {
		return c, nil
	}
	a, err := all.HTTP(how, values)
	if err != nil {
		return c, err
	}
	path := ""
	if c.Claims != nil {
		path = c.Claims.Path
	}
	c.Addr, c.Claims = a, (*group.Claims)(nil).At(path)
	return c, nil
}

// whoKey is the key of a connection's who in the contexts of its requests.
type whoKey struct{}

// who is what a connection says of its client. It is safe for concurrent use.
type who struct {
	secure *secure.Config
	once   sync.Once
	said   *group.Claims
}

// claims returns what the handshake said, which is complete.
func (w *who) claims(s *tls.ConnectionState) *group.Claims {
	w.once.Do(func() { w.said = w.secure.Claims(s) })
	return w.said
}

// isQuery reports whether a message is one that gets a response by UDP.
func isQuery(msg []byte) bool {
	return len(msg) >= wire.HeaderLen && wire.Flags(msg)&wire.FlagQR == 0
}

// fromQuery appends the query that a URL's parameters have. Its size is bounded by
// that of headers.
func fromQuery(dst []byte, query string) ([]byte, error) {
	text, found := "", false
	for query != "" {
		var p string
		p, query, _ = strings.Cut(query, "&")
		value, ok := strings.CutPrefix(p, "dns=")
		if !ok {
			continue
		}
		if found {
			return nil, errNoQuery
		}
		text, found = value, true
	}
	if strings.IndexByte(text, '%') >= 0 {
		var err error
		if text, err = url.QueryUnescape(text); err != nil {
			return nil, errNoQuery
		}
	}
	if text == "" {
		return nil, errNoQuery
	}
	out, err := base64.RawURLEncoding.AppendDecode(dst, []byte(text))
	if err != nil {
		return nil, errNoQuery
	}
	return out, nil
}

// fromBody appends the query that a body has. Memory follows the octets that come.
func fromBody(dst []byte, w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if err := faultOf(r.Header.Get("Content-Type"), r.Header.Get("Content-Encoding"), r.ContentLength); err != nil {
		return nil, err
	}
	body := http.MaxBytesReader(w, r.Body, wire.MaxMessage)
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := body.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		var large *http.MaxBytesError
		switch {
		case err == io.EOF:
			return dst, nil
		case errors.As(err, &large):
			return nil, errSize
		case err != nil:
			return nil, errBody
		}
	}
}

// faultOf is what is wrong with a body, as its header describes it. length is -1 if
// that does not say.
func faultOf(kind, encoding string, length int64) error {
	if kind != mediaType {
		if parsed, _, err := mime.ParseMediaType(kind); err != nil || parsed != mediaType {
			return errType
		}
	}
	if encoding != "" && encoding != "identity" {
		return errEncoding
	}
	if length > wire.MaxMessage {
		return errSize
	}
	return nil
}

// lifetime is for how many seconds a response may be kept (RFC 8484 section 5.1): the
// lowest TTL of its answer section, or of a negative answer that of its SOA record
// (RFC 2308 section 5). It is 0 for failures, and for what has no TTL.
func lifetime(msg []byte) uint32 {
	if code := wire.HeaderRcode(msg); code != wire.NoError && code != wire.NXDomain || wire.Flags(msg)&wire.FlagTC != 0 {
		return 0
	}
	low, negative := uint32(math.MaxUint32), uint32(0)
	walk := wire.NewWalk(msg)
	var r wire.Record
	for walk.Next(&r) {
		ttl := wire.TTL(r.TTL)
		switch {
		case r.Section == wire.Answer:
			low = min(low, ttl)
		case r.Section == wire.Authority && r.Type == wire.TypeSOA && r.End-r.DataOff >= 20:
			negative = min(ttl, uint32(msg[r.End-4])<<24|uint32(msg[r.End-3])<<16|uint32(msg[r.End-2])<<8|uint32(msg[r.End-1]))
		}
	}
	switch {
	case walk.Err() != nil:
		return 0
	case low < math.MaxUint32 && wire.HeaderRcode(msg) == wire.NXDomain:
		return min(low, negative)
	case low < math.MaxUint32:
		return low
	}
	return negative
}
