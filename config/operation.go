package config

import (
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"rideau/config/access"
	"rideau/config/node"
	"rideau/config/value"
)

// Reload says when changes of files take effect, and which changes are refused.
type Reload struct {
	// Watch says whether a file is read as soon as it is saved. Otherwise only a signal or a request does that.
	Watch bool `key:"watch" applies:"live"`
	// Interval is the time between two checks of the files.
	Interval time.Duration `key:"interval" applies:"live"`
	// MaxShrink is the share of its entries, 0 to 1, that a list may lose in a reload.
	MaxShrink float64 `key:"max_shrink" applies:"lists"`
	// MaxSkipped is the share of a list's lines, 0 to 1, that may be unusable.
	MaxSkipped float64 `key:"max_skipped" applies:"lists"`
}

// Ops is the HTTP service for operators.
type Ops struct {
	// Listen is the address to serve, as net.Listen takes it; empty for no service.
	Listen string `key:"listen" applies:"restart"`
	// SelfTest is the time between two tests of the bans; 0 for never.
	SelfTest time.Duration `key:"selftest" applies:"live"`
	// Pprof says whether Go's profiles are served too.
	Pprof bool `key:"pprof" applies:"restart"`
	// TokenFile is the path of a file with the token that requests which change something must have, relative as List.File is; empty for
	// none.
	TokenFile string `key:"token_file" applies:"live"`
	// Tokens are further tokens, each with a role.
	Tokens []access.Token `key:"tokens" applies:"live"`
	// UsersFile is the path of the file of those who sign in with a password, relative as List.File is; empty for none.
	UsersFile string `key:"users_file" applies:"live"`
	// Socket is the path of a Unix socket, relative as List.File is, by which its owner and root may do all without a token, and which the
	// command line uses; empty for none, AutoSocket for ops.sock in State.Dir. See SocketPath.
	Socket string `key:"socket" applies:"restart"`
	// Hosts are names, in lower case and without final dot, that requests may use for the server beside its addresses and localhost.
	Hosts []string `key:"hosts" applies:"live"`
}

// Log says what is logged, and how.
type Log struct {
	// Level is the lowest level that is logged.
	Level slog.Level `key:"level" applies:"live"`
	// Format is the format of the lines.
	Format LogFormat `key:"format" applies:"restart"`
	// Language is the language of the messages.
	Language LogLanguage `key:"language" applies:"restart"`
	// Queries is the path of a file to which queries are logged, relative as List.File is; empty for none.
	Queries string `key:"queries" applies:"live"`
	// QueriesMaxBytes is the size at which that file is renamed and a new one begins.
	QueriesMaxBytes int64 `key:"queries_max_bytes" applies:"live"`
	// QueriesMaxRate is how many lines a second are written to it; the others are counted as lost.
	QueriesMaxRate int `key:"queries_max_rate" applies:"live"`
	// Blocked says whether each query that a ban blocks has a line of the log. BlockedMaxRate is how many lines a second there are of each
	// kind of query that a ban or an exception is about; the others are counted.
	Blocked        bool `key:"blocked" applies:"live"`
	BlockedMaxRate int  `key:"blocked_max_rate" applies:"live"`
	// Clients says how much of clients' addresses is logged.
	Clients LogClients `key:"clients" applies:"live"`
}

// LogLanguage is a language of the log's messages.
type LogLanguage string

// Languages of the log.
const (
	LogEnglish LogLanguage = "en"
	LogFrench  LogLanguage = "fr"
)

// LogClients says how much of a client's address is logged.
type LogClients string

// How much of an address is logged.
const (
	ClientAddress LogClients = "address" // all
	ClientNetwork LogClients = "network" // the /24 of IPv4, the /48 of IPv6
	ClientNone    LogClients = "none"    // nothing
)

// LogFormat is a format of log lines.
type LogFormat string

// Log formats.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

func defaultReload() Reload {
	return Reload{Watch: true, Interval: 100 * time.Millisecond, MaxShrink: 0.5, MaxSkipped: 0.1}
}

// AutoSocket is the value of Ops.Socket for a socket in State.Dir, if that exists and there is a service at all.
const AutoSocket = "auto"

// SocketPath returns the path of the operators' Unix socket, and whether the configuration names it: one that it does not name may be
// missing. The path is empty if there is none.
func (c *Config) SocketPath() (path string, named bool) {
	switch {
	case c.Ops.Socket != AutoSocket:
		return c.Ops.Socket, true
	case c.Ops.Listen == "" || c.State.Dir == "":
		return "", false
	}
	return filepath.Join(c.State.Dir, "ops.sock"), false
}

func defaultOps() Ops {
	return Ops{Listen: "127.0.0.1:5380", Socket: AutoSocket, SelfTest: 24 * time.Hour}
}

func defaultLog() Log {
	return Log{Level: slog.LevelInfo, Format: LogText, Language: LogEnglish, QueriesMaxBytes: 1 << 30, QueriesMaxRate: 50000,
		Blocked: true, BlockedMaxRate: 20, Clients: ClientAddress}
}

func (r *Reload) read(m *node.Mapping) {
	node.Set(m, "watch", &r.Watch, node.Boolean)
	node.Set(m, "interval", &r.Interval, node.Duration(50*time.Millisecond, time.Minute))
	node.Set(m, "max_shrink", &r.MaxShrink, node.Share)
	node.Set(m, "max_skipped", &r.MaxSkipped, node.Share)
}

func (c *Config) readOps(m *node.Mapping) {
	o := &c.Ops
	node.Set(m, "listen", &o.Listen, opsAddress)
	node.Set(m, "selftest", &o.SelfTest, node.Duration(0, 30*24*time.Hour))
	if o.SelfTest > 0 && o.SelfTest < time.Minute {
		m.At("selftest").Problem("use 1m or more, or 0 for never", "%v is too often for a self-test", o.SelfTest)
	}
	node.Set(m, "pprof", &o.Pprof, node.Boolean)
	node.Set(m, "token_file", &o.TokenFile, value.FileOrNone)
	node.Set(m, "tokens", &o.Tokens, access.ReadTokens)
	node.Set(m, "users_file", &o.UsersFile, value.FileOrNone)
	node.Set(m, "socket", &o.Socket, func(v node.Value) (string, bool) {
		if s, ok := v.Scalar(); ok && s == AutoSocket {
			return s, true
		}
		return value.FileOrNone(v)
	})
	node.Set(m, "hosts", &o.Hosts, node.List(0, 256, value.Domain))
	if host, _, err := net.SplitHostPort(o.Listen); err == nil && o.TokenFile == "" {
		if a, err := netip.ParseAddr(host); err != nil || !a.IsLoopback() {
			m.At("listen").Warn("set ops.token_file, or listen on 127.0.0.1", "other machines can reach the operators' service, and it asks for no token")
		}
	}
	m.Finally(func() {
		at, err := netip.ParseAddrPort(o.Listen)
		if err == nil && at.Port() != 0 && slices.Contains(c.Listen.Addresses, at) {
			m.At("listen").Problem("choose another port", "%s is already taken by listen.addresses", at)
		}
	})
}

// opsAddress parses one address to listen on, which may be empty.
func opsAddress(v node.Value) (string, bool) {
	s, ok := v.Scalar()
	if ok && s == "" {
		return "", true
	}
	addresses, ok := value.ListenAddress(v)
	if !ok {
		return "", false
	}
	if len(addresses) > 1 { // all addresses of both families, which net.Listen understands as it is written
		return s, true
	}
	return addresses[0].String(), true
}

func (l *Log) read(m *node.Mapping) {
	level := l.Level.String()
	node.Set(m, "level", &level, node.Word("a level", "debug", "info", "warn", "error"))
	if err := l.Level.UnmarshalText([]byte(level)); err != nil {
		m.At("level").Problem("use debug, info, warn or error", "unknown level %s", node.Quote(level))
	}
	node.Set(m, "format", &l.Format, node.Word("a format", LogText, LogJSON))
	node.Set(m, "language", &l.Language, node.Word("a language", LogEnglish, LogFrench))
	node.Set(m, "queries", &l.Queries, value.FileOrNone)
	node.Set(m, "queries_max_bytes", &l.QueriesMaxBytes, node.Size(1<<20, 1<<40))
	node.Set(m, "queries_max_rate", &l.QueriesMaxRate, node.Integer(1, 10_000_000))
	node.Set(m, "blocked", &l.Blocked, node.Boolean)
	node.Set(m, "blocked_max_rate", &l.BlockedMaxRate, node.Integer(1, 10_000))
	node.Set(m, "clients", &l.Clients, node.Word("a part of addresses", ClientAddress, ClientNetwork, ClientNone))
}
