// Package act records what operators and the program did to a server: starts and
// stops, reloads, exceptions, bans that began or ended. Together with the records
// of queries (package audit) the acts are the evidence of a ban.
//
// Acts are rare. A [Log] hands each of them to all its readers.
package act

import (
	"net/netip"
	"sync"
	"time"

	"rideau/resolver/audit/names"
)

// Kind says what was done. Its text is part of the formats that others read, and
// never changes.
type Kind string

// Kinds.
const (
	Start              Kind = "start"               // the server answers
	Stop               Kind = "stop"                // it was told to end; it answers what is pending
	Reload             Kind = "reload"              // a configuration was put in force
	ReloadRefused      Kind = "reload_refused"      // a configuration was not put in force
	ListRefused        Kind = "list_refused"        // a list was not accepted; its last good copy serves
	ListStale          Kind = "list_stale"          // a list was not confirmed for too long
	BanBegan           Kind = "ban_began"           // a ban came into force by its date
	BanEnded           Kind = "ban_ended"           // a ban ended by its date
	ExceptionMade      Kind = "exception_made"      // an exception was written into the configuration, or changed there
	ExceptionRemoved   Kind = "exception_removed"   // an exception was taken out of the configuration
	ExceptionBegan     Kind = "exception_began"     // an exception came into force
	ExceptionEnded     Kind = "exception_ended"     // an exception is not in force any more: removed, or by its date
	ExceptionUsed      Kind = "exception_used"      // an exception let queries through
	Flush              Kind = "flush"               // answers were removed from the cache
	Force              Kind = "force"               // a list or the loss of a ban was accepted by force
	ClockDistrusted    Kind = "clock_distrusted"    // the system's clock contradicts what else is known
	ClockTrusted       Kind = "clock_trusted"       // it no longer does
	CertificateChanged Kind = "certificate_changed" // a certificate that Rideau shows or trusts is another one
	AccessDenied       Kind = "access_denied"       // an operator's request was refused: a wrong token, a place it may not come from
	SignIn             Kind = "sign_in"             // somebody signed in to the operators' HTTP, or could not; Object is how
	SignOut            Kind = "sign_out"            // a session ended because its user, or a change of the configuration, ended it
	NotReady           Kind = "not_ready"           // the server stopped being ready
	Ready              Kind = "ready"               // it is ready again
	Seal               Kind = "seal"                // a sealed file has a seal; Reason is its head
	AlertRaised        Kind = "alert"               // something that an operator asked to be told of
	AlertResolved      Kind = "alert_resolved"      // it is over
	PageShown          Kind = "page_shown"          // the block page told a client which ban stops a name
)

// Kinds are all kinds, in the order of the documentation.
func Kinds() []Kind {
	return []Kind{Start, Stop, Reload, ReloadRefused, ListRefused, ListStale, BanBegan, BanEnded, ExceptionMade, ExceptionRemoved, ExceptionBegan,
		ExceptionEnded, ExceptionUsed, Flush, Force, ClockDistrusted, ClockTrusted, CertificateChanged, AccessDenied, SignIn, SignOut, NotReady, Ready, Seal, AlertRaised, AlertResolved, PageShown}
}

// Way is how an act was asked for.
type Way string

// Ways.
const (
	ByFile   Way = "file"   // a watched file changed
	BySignal Way = "signal" // SIGHUP, SIGTERM
	ByHTTP   Way = "http"   // the operators' HTTP
	BySocket Way = "socket" // the same, over the Unix socket
	ByDate   Way = "date"   // a date of the configuration
	ByItself Way = "itself" // the program: a list that was fetched, the clock
)

// Actor is who asked for an act.
type Actor struct {
	Way Way
	// Address is where an HTTP request came from; empty for other ways.
	Address string
	// User is who it is, as far as is known: the user id of a Unix socket's peer, or the
	// name of a user or of a token. Empty if nothing is known.
	User string
	// Process is the process id of a Unix socket's peer; 0 if it is not known.
	Process int
}

// Exception is what is known of an exception. Times are zero if there is none.
type Exception struct {
	ID       string
	Ticket   string // where it was asked for
	Approver string // who approved it
	Contact  string // whom to ask about it
	Reason   string
	Groups   []string // the groups it is for
	Lists    []string
	// Effective and Expires are when it begins and ends.
	Effective, Expires time.Time
	// InForce says whether it lets queries through now.
	InForce bool
	// Uses is how many queries it let through since the act before of the same
	// kind; for ExceptionUsed.
	Uses uint64
}

// Certificate is what is known of a certificate.
type Certificate struct {
	Use         string // what it is for: a key of the configuration
	File        string
	Subject     string
	Issuer      string
	Serial      string // in hexadecimal
	Fingerprint string // SHA-256 of the whole, in hexadecimal
	// NotBefore and NotAfter are when it begins and ends.
	NotBefore, NotAfter time.Time
}

// Change is one difference between what was in force and what is.
type Change struct {
	File   string
	Line   int // 0 if it is not known
	Key    string
	Before string
	After  string
}

// Ban is the state of one ban after an act.
type Ban struct {
	ID string
	// Enforced says whether it stops queries of at least one group now.
	Enforced bool
	// Mode is enforce, monitor or off. A ban in mode enforce that is not
	// Enforced is outside its dates.
	Mode  string
	Lists []List
	// Groups are those for which it is Enforced; the empty name is for the clients
	// of no group.
	Groups []string
	// What the configuration says of it. Effective and Expires are zero if it has
	// no such date. Bypass says that it is about ways round the resolver.
	TitleEN, TitleFR           string
	Authority, Instrument, URL string
	Effective, Expires         time.Time
	Bypass                     bool
}

// List is a list as a ban uses it.
type List struct {
	ID      string
	Hash    string // SHA-256 of what was read, in hexadecimal; of all files for a folder
	Entries int
	// LastGood says that the last good copy serves, because the source was
	// refused or cannot be read.
	LastGood bool
}

// Alert is what AlertRaised and AlertResolved are about.
type Alert struct {
	// ID is the same for all acts of one alert: when it was raised, each time that
	// it is told again, and when it is resolved.
	ID        string
	Condition string // what is watched: ban_not_enforced, sink_down and so on
	Severity  string // critical, high, medium or low
	// English and French are a sentence each.
	English, French string
	Since           time.Time
	// Count is how often it happened since then, where that can be counted.
	Count uint64
	// Client is the address that the alert is about, if it is about one. Sinks tell
	// of it what they tell of clients.
	Client netip.Addr
	// Suppressed is how many alerts were not told before this one, since there were
	// too many in an hour.
	Suppressed uint64
	Again      bool // it was told before, and goes on
	Test       bool // somebody tries out whether alerts arrive
}

// Visit is a client to which the block page was shown.
type Visit struct {
	Reference string     // what the page says, so that support finds the act
	Client    netip.Addr // sinks tell of it what they tell of clients
}

// Act is one act. It is never written after it was added to a Log.
type Act struct {
	// Number counts the acts of one run of the program from 1. Add sets it.
	Number uint64
	Time   time.Time
	Kind   Kind
	Actor  Actor
	// Object is the id of the ban, the list or the exception that the act is
	// about; empty if it is about the server.
	Object string
	// Failed says that what was asked for did not happen, and Reason why. Reason
	// may also explain an act that did happen.
	Failed bool
	Reason string
	// Changes are the differences that a reload made.
	Changes []Change
	// Exception is the exception that the act is about; nil if it is about none.
	Exception *Exception
	// Certificate is what there is now; nil if the act is about none, or none is left.
	Certificate *Certificate
	// Alert is what the act tells of; nil for acts of other kinds.
	Alert *Alert
	// Visit is who was shown a page; nil for acts of other kinds.
	Visit *Visit
	// Bans are the states of all bans after the act; nil if the act cannot
	// change them.
	Bans []Ban
	// Policy is what decides after the act.
	Policy names.Policy
	// Config is the SHA-256 of the configuration in force, in hexadecimal.
	Config string
	// Distrusted says that the clock was distrusted when Time was read.
	Distrusted bool
	// Uptime is how long the program had run by a clock that nobody sets; 0 if it
	// is not known.
	Uptime time.Duration
}

// Log hands acts to its readers. It is safe for concurrent use.
type Log struct {
	mu      sync.Mutex
	number  uint64    // guarded by mu
	readers []*Reader // guarded by mu
}

// New makes a Log without readers.
func New() *Log { return new(Log) }

// Add numbers an act and hands it to all readers. It does not wait for them. Its
// slices belong to the Log from now on.
func (l *Log) Add(a Act) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.number++
	a.Number = l.number
	for _, r := range l.readers {
		r.add(&a)
	}
}

// NewReader adds a reader that keeps at most size acts until they are read.
func (l *Log) NewReader(size int) *Reader {
	r := &Reader{log: l, size: size, ready: make(chan struct{}, 1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readers = append(l.readers, r)
	return r
}

// Reader is a queue of acts. It is safe for concurrent use.
type Reader struct {
	log   *Log
	size  int
	ready chan struct{}

	mu    sync.Mutex
	queue []*Act // guarded by mu
	lost  uint64 // guarded by mu
}

func (r *Reader) add(a *Act) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == r.size {
		r.lost++
		return
	}
	r.queue = append(r.queue, a)
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

// Ready receives a value after acts were queued. One value may stand for many.
func (r *Reader) Ready() <-chan struct{} { return r.ready }

// Read returns the acts that are queued, oldest first. They must not be written.
func (r *Reader) Read() []*Act {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.queue
	r.queue = nil
	return out
}

// Lost counts the acts for which the queue had no space.
func (r *Reader) Lost() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

// Close takes the reader out of the Log. What is queued can still be read.
func (r *Reader) Close() {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	for i, other := range r.log.readers {
		if other == r {
			r.log.readers = append(r.log.readers[:i:i], r.log.readers[i+1:]...)
			return
		}
	}
}
