// Package session keeps the sessions of people who have signed in, in memory.
package session

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"sync"
	"time"
)

// Bounds of sessions.
const (
	// Idle is how long a session lives without a request, and Life how long in all.
	Idle = 30 * time.Minute
	Life = 12 * time.Hour
	// Of more than these, the one that was used longest ago ends.
	maxSessions, maxOfUser = 512, 8
)

// Subject is who has signed in.
type Subject struct {
	Name string
	Way  string // how; two users of different ways are not the same
	// Mark changes when the subject has to sign in again: with the password.
	Mark string
}

// Session is a sign-in that lasts. Its exported fields are immutable.
type Session struct {
	Subject
	Began time.Time
	// Context ends with the session.
	Context context.Context

	end    context.CancelFunc
	id     [sha256.Size]byte // of the cookie's value, which nobody keeps
	csrf   string
	tls    bool
	agent  [sha256.Size]byte
	usedAt time.Time // guarded by Store.mu
}

// CSRF is what a form of the session must hold.
func (s *Session) CSRF() string { return s.csrf }

// Store keeps sessions. It is safe for concurrent use.
type Store struct {
	clock func() time.Time
	mu    sync.Mutex
	all   map[[sha256.Size]byte]*Session // guarded by mu
}

// NewStore returns an empty Store. A nil clock means time.Now.
func NewStore(clock func() time.Time) *Store {
	if clock == nil {
		clock = time.Now
	}
	return &Store{clock: clock, all: map[[sha256.Size]byte]*Session{}}
}

// CookieName returns the name of the cookie. Over TLS browsers take one of that name
// only for this very host, from a secure answer (RFC 6265bis).
func CookieName(r *http.Request) string {
	if r.TLS != nil {
		return "__Host-rideau"
	}
	return "rideau"
}

// Cookie returns a cookie of this server with that value, for a session of a browser; an
// empty value removes it.
func Cookie(r *http.Request, name, value string) *http.Cookie {
	c := &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

// New begins a session for a subject, ends the one that the request has, and sets the
// cookie: what a browser had before is never the key of a session.
func (s *Store) New(w http.ResponseWriter, r *http.Request, of Subject) *Session {
	s.End(s.Find(r))
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // it never fails
	value := base64.RawURLEncoding.EncodeToString(secret)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("csrf"))
	now := s.clock()
	n := &Session{Subject: of, Began: now, id: sha256.Sum256([]byte(value)), csrf: base64.RawURLEncoding.EncodeToString(mac.Sum(nil)),
		tls: r.TLS != nil, agent: agent(r), usedAt: now}
	n.Context, n.end = context.WithCancel(context.Background())
	s.mu.Lock()
	s.makeSpace(of, now)
	s.all[n.id] = n
	s.mu.Unlock()
	http.SetCookie(w, Cookie(r, CookieName(r), value))
	return n
}

// makeSpace ends what is over, and what was used longest ago if there are too many. mu is
// held.
func (s *Store) makeSpace(of Subject, now time.Time) {
	for {
		var oldest, oldestOfUser *Session
		n := 0
		for _, x := range s.all {
			if x.over(now) {
				s.remove(x)
				continue
			}
			if oldest == nil || x.usedAt.Before(oldest.usedAt) {
				oldest = x
			}
			if x.Name == of.Name && x.Way == of.Way {
				n++
				if oldestOfUser == nil || x.usedAt.Before(oldestOfUser.usedAt) {
					oldestOfUser = x
				}
			}
		}
		switch {
		case n >= maxOfUser:
			s.remove(oldestOfUser)
		case len(s.all) >= maxSessions:
			s.remove(oldest)
		default:
			return
		}
	}
}

func (s *Session) over(now time.Time) bool {
	return now.Sub(s.usedAt) >= Idle || now.Sub(s.Began) >= Life
}

// remove ends a session. mu is held.
func (s *Store) remove(x *Session) {
	delete(s.all, x.id)
	x.end()
}

// Find returns the session of a request, and counts the request as its use; nil if
// there is none. One that is used by another browser, or without the TLS that it
// began with, is not found.
func (s *Store) Find(r *http.Request) *Session {
	c, err := r.Cookie(CookieName(r))
	if err != nil || len(c.Value) != 43 {
		return nil
	}
	id := sha256.Sum256([]byte(c.Value))
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.all[id]
	switch {
	case x == nil:
		return nil
	case x.over(now):
		s.remove(x)
		return nil
	case x.tls != (r.TLS != nil) || x.agent != agent(r):
		return nil
	}
	x.usedAt = now
	return x
}

// End ends a session; nil is none.
func (s *Store) End(x *Session) {
	if x == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(x)
}

// EndIf ends the sessions for which over is true, and returns them. over must not call
// the Store.
func (s *Store) EndIf(over func(*Session) bool) []*Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*Session
	for _, x := range s.all {
		if over(x) {
			s.remove(x)
			out = append(out, x)
		}
	}
	return out
}

// Len returns how many sessions there are.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// agent is the browser of a request, as far as it says.
func agent(r *http.Request) [sha256.Size]byte { return sha256.Sum256([]byte(r.UserAgent())) }
