// Package blockpage serves the page that tells people which ban stops a name, why, since when, and whom to ask.
//
// It answers for names that policy blocks for the client that asks, and tells nothing about others. By HTTPS it shows certificates that an
// [Authority] issues for such names, and for no others.
package blockpage

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"rideau/blocklists"
	"rideau/config"
	"rideau/config/policy"
	"rideau/resolver/audit/act"
	"rideau/resolver/limit"
	"rideau/resolver/listener/admission"
	"rideau/resolver/wire"
)

const pageAction = policy.ActionPage

const (
	headerTime = 5 * time.Second // for the TLS handshake and the header of a request
	wholeTime  = 10 * time.Second
	headerSize = 8 << 10
	// visitLife is how long a further request of a client for a ban is the same visit.
	visitLife       = 10 * time.Minute
	maxVisits       = 4096
	visitsPerSecond = 20 // are recorded
)

// Options are what a Server works with. Every field is needed.
type Options struct {
	// Config and Policy return the configuration and the policy in force.
	Config func() *config.Config
	Policy func() *blocklists.Snapshot
	// Record records an act. It does not wait.
	Record func(act.Act)
	Log    *slog.Logger
	Now    func() time.Time
}

// Server serves the page. It is safe for concurrent use. A nil Server serves nothing.
type Server struct {
	o         Options
	gate      *admission.Gate
	authority atomic.Pointer[Authority]
	visits    *lru.Cache[visitKey, visit]
	rate      limit.PerSecond
	told      limit.PerSecond // messages of the log
	http      *http.Server
	listeners []net.Listener
}

type visitKey struct {
	client netip.Addr
	ban    string
}

type visit struct {
	reference string
	began     time.Time
}

// New makes a Server that listens nowhere.
func New(o Options) *Server {
	visits, _ := lru.New[visitKey, visit](maxVisits) // fails for sizes below 1 only
	s := &Server{o: o, visits: visits,
		gate: admission.NewGate(admission.Limits{Connections: 512, PerClient: 32, Fresh: 256, FreshPerClient: 16})}
	s.rate.SetMax(visitsPerSecond)
	s.told.SetMax(1)
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: headerTime, ReadTimeout: wholeTime, WriteTimeout: wholeTime, IdleTimeout: wholeTime, MaxHeaderBytes: headerSize,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), // what clients send wrong is not worth a line
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, admitted(c))
		},
		ConnState: func(c net.Conn, state http.ConnState) {
			if state == http.StateIdle {
				admitted(c).Idle()
			}
		}}
	return s
}

// Open makes a Server and binds the addresses of a configuration; nil if it has none.
func Open(cfg *config.Config, o Options) (*Server, error) {
	plain, encrypted := cfg.BlockPage.HTTP, cfg.BlockPage.HTTPS
	if len(plain)+len(encrypted) == 0 {
		return nil, nil
	}
	s := New(o)
	err := s.Listen(plain, false)
	if err == nil {
		err = s.Listen(encrypted, true)
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("block_page: %w", err)
	}
	for i, a := range s.Addrs() {
		o.Log.Info("the block page is served", "address", a.String(), "https", i >= len(plain))
	}
	return s, nil
}

// Use issues certificates by another authority from now on; nil for none. It returns what is to be said of it.
func (s *Server) Use(a *Authority) []config.Problem {
	if s != nil {
		s.authority.Store(a)
	}
	if a == nil {
		return nil
	}
	return a.Warnings
}

// Listen binds addresses. With secure, connections there are by TLS.
func (s *Server) Listen(addresses []netip.AddrPort, secure bool) error {
	for _, a := range addresses {
		network := "tcp6"
		if a.Addr().Is4() {
			network = "tcp4"
		}
		l, err := net.Listen(network, a.String())
		if err != nil {
			return err
		}
		l = bounded{l, s.gate}
		if secure {
			l = tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: s.certificate, SessionTicketsDisabled: true})
		}
		s.listeners = append(s.listeners, l)
	}
	return nil
}

// Addrs are the addresses that are bound, in their order.
func (s *Server) Addrs() []net.Addr {
	var out []net.Addr
	for _, l := range s.listeners {
		out = append(out, l.Addr())
	}
	return out
}

// Serve serves until ctx ends. It is called once.
func (s *Server) Serve(ctx context.Context) {
	if s == nil {
		<-ctx.Done()
		return
	}
	var serving sync.WaitGroup
	for _, l := range s.listeners {
		serving.Go(func() {
			if err := s.http.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
				s.o.Log.Error("the block page is not served any more", "address", l.Addr(), "error", err)
			}
		})
	}
	<-ctx.Done()
	s.Close()
	serving.Wait()
}

// Close closes the listeners and the connections.
func (s *Server) Close() {
	s.http.Close()
	for _, l := range s.listeners {
		l.Close()
	}
}

// found is the ban that stops a name for a client.
type found struct {
	ban   *blocklists.Ban
	group string
	name  string // as in the DNS, in lower case without a final dot
}

// find returns the ban that stops a name for a client. ok is false if none does, or if the text is no name.
func (s *Server) find(text string, client netip.Addr) (f found, ok bool) {
	text = strings.ToLower(strings.TrimSuffix(text, "."))
	raw, err := wire.AppendName(nil, []byte(text))
	var name wire.Name
	if err != nil || text == "" || name.Set(raw) != nil || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return f, false
	}
	p := s.o.Policy()
	group := p.Group(client, nil)
	f.name, f.group = text, p.GroupName(group)
	v := p.Question(&blocklists.Ask{Name: &name, Type: wire.TypeA, Client: client, Group: group, TCP: true})
	if v.Kind != blocklists.Block {
		return f, false
	}
	f.ban = p.Ban(v.Ban)
	return f, true
}

// certificate returns the certificate for the name that a client connects to; none if that name is not banned for it.
func (s *Server) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	a := s.authority.Load()
	client := addressOf(hello.Conn.RemoteAddr())
	f, ok := s.find(hello.ServerName, client)
	if a == nil || !ok || !f.ban.Page || !s.trusts(f.group) {
		return nil, nil // unrecognized_name (RFC 6066 section 3)
	}
	now := s.o.Now()
	c, err := a.Issue(f.name, now)
	if err != nil && s.told.Take(now.Unix()) {
		s.o.Log.Warn("a name has no block page by HTTPS", "name", f.name, "ban", f.ban.ID, "error", err)
	}
	if err != nil {
		return nil, nil
	}
	return c, nil
}

// trusts reports whether the clients of a group trust the authority.
func (s *Server) trusts(group string) bool {
	groups := s.o.Config().BlockPage.HTTPSGroups
	return slices.Contains(groups, policy.GroupAll) || slices.Contains(groups, group)
}

// visit returns the reference of a client's visit; empty if it is not recorded, since too many come.
func (s *Server) visit(f *found, client netip.Addr) string {
	now := s.o.Now()
	key := visitKey{admission.Key(client), f.ban.ID}
	if v, ok := s.visits.Get(key); ok && now.Sub(v.began) < visitLife {
		return v.reference
	}
	if !s.rate.Take(now.Unix()) {
		return ""
	}
	random := make([]byte, 5)
	rand.Read(random) // it does not fail
	code := references.EncodeToString(random)
	v := visit{code[:4] + "-" + code[4:], now}
	s.visits.Add(key, v)
	s.o.Record(act.Act{Kind: act.PageShown, Actor: act.Actor{Way: act.ByItself}, Object: f.ban.ID, Reason: "reference " + v.reference,
		Visit: &act.Visit{Reference: v.reference, Client: client}})
	return v.reference
}

// references writes numbers without letters that people confuse.
var references = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

func addressOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// bounded is a listener whose connections a gate admits.
type bounded struct {
	net.Listener
	gate *admission.Gate
}

func (l bounded) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if at := l.gate.Admit(addressOf(inner.RemoteAddr()), func() { inner.Close() }); at != nil {
			return &conn{Conn: inner, at: at}, nil
		}
		inner.Close()
	}
}

// conn is a connection that was admitted.
type conn struct {
	net.Conn
	at *admission.Conn
}

func (c *conn) Close() error {
	c.at.Leave()
	return c.Conn.Close()
}

// connKey is the key of the context of a request for its connection.
type connKey struct{}

func admitted(c net.Conn) *admission.Conn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return c.(*conn).at
}
