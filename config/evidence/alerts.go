package evidence

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"rideau/config/node"
	"rideau/config/value"
)

// Alerts say what is watched, and how alerts are told. They go to sinks with events: alerts, and to all others that have operators' acts.
type Alerts struct {
	// Off are the conditions that are not watched.
	Off []Condition `key:"off" applies:"live"`
	// Repeat is how often an alert is told again while it lasts; 0 for never.
	Repeat time.Duration `key:"repeat" applies:"live"`
	// PerHour is how many alerts are told in an hour.
	PerHour int `key:"per_hour" applies:"live"`
	// Hold is how long an alert about something that happens once is open.
	Hold time.Duration `key:"hold" applies:"live"`
	// Quiet are the times at which only Urgent alerts are told.
	Quiet  []Quiet     `key:"quiet" applies:"live"`
	Urgent []Condition `key:"urgent" applies:"live"`
	// ListStale and SinkDown are after how long a list is stale, and a sink down.
	ListStale time.Duration `key:"list_stale_after" applies:"live"`
	SinkDown  time.Duration `key:"sink_down_after" applies:"live"`
	// SpoolShare is the share of a spool that is filled when it is told.
	SpoolShare float64 `key:"spool_share" applies:"live"`
	// Devices is how many devices are remembered, with the bans that they asked for.
	Devices int `key:"devices" applies:"live"`
	// Bypass is how many attempts to go round Rideau there are within Hold when it is told.
	Bypass int `key:"bypass_at_least" applies:"live"`
	// SpikeFactor and SpikeAtLeast say when there is a spike: so many times the usual number of banned queries in a minute, and so many of them.
	SpikeFactor  int `key:"spike_factor" applies:"live"`
	SpikeAtLeast int `key:"spike_at_least" applies:"live"`
}

// Condition is what is watched, see package rideau/resolver/audit/alert.
type Condition string

// conditions are all conditions, in the order of the documentation.
func conditions() []Condition {
	return []Condition{"ban_not_enforced", "reload_refused", "list_stale", "first_attempt", "spike", "bypass_attempt", "sink_down", "spool_filling"}
}

func defaultAlerts() Alerts {
	return Alerts{Repeat: 4 * time.Hour, PerHour: 30, Hold: time.Hour, Urgent: []Condition{"ban_not_enforced"}, ListStale: 72 * time.Hour, SinkDown: 5 * time.Minute,
		SpoolShare: 0.8, Devices: 65536, Bypass: 1, SpikeFactor: 5, SpikeAtLeast: 100}
}

func (a *Alerts) read(m *node.Mapping) {
	condition := node.Word("a condition", conditions()...)
	node.Set(m, "off", &a.Off, node.List(0, 16, node.Distinct(condition)))
	node.Set(m, "repeat", &a.Repeat, node.Duration(0, 30*24*time.Hour))
	node.Set(m, "per_hour", &a.PerHour, node.Integer(1, 3600))
	node.Set(m, "hold", &a.Hold, node.Duration(time.Minute, 30*24*time.Hour))
	node.Set(m, "quiet", &a.Quiet, node.List(0, 16, quiet))
	node.Set(m, "urgent", &a.Urgent, node.List(0, 16, node.Distinct(condition)))
	node.Set(m, "list_stale_after", &a.ListStale, node.Duration(time.Minute, 366*24*time.Hour))
	node.Set(m, "sink_down_after", &a.SinkDown, node.Duration(0, 24*time.Hour))
	node.Set(m, "spool_share", &a.SpoolShare, node.Share)
	node.Set(m, "devices", &a.Devices, node.Integer(100, 10_000_000))
	node.Set(m, "bypass_at_least", &a.Bypass, node.Integer(1, 1_000_000))
	node.Set(m, "spike_factor", &a.SpikeFactor, node.Integer(2, 1000))
	node.Set(m, "spike_at_least", &a.SpikeAtLeast, node.Integer(1, 1_000_000_000))
}

// Quiet is a time of some days of the week.
type Quiet struct {
	Days [7]bool // on which it begins; Sunday is the first
	// From and To are minutes since midnight. If To is not after From, it is on the next day.
	From, To int
}

// weekdays are the days of the week as they are written.
func weekdays() []string { return []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} }

// String is the time as it is written.
func (q Quiet) String() string {
	text := fmt.Sprintf("%02d:%02d-%02d:%02d", q.From/60, q.From%60, q.To/60, q.To%60)
	if q.Days == [7]bool{true, true, true, true, true, true, true} {
		return text
	}
	var names []string
	for i, on := range q.Days {
		if on {
			names = append(names, weekdays()[i])
		}
	}
	return strings.Join(names, ",") + " " + text
}

// MarshalText implements encoding.TextMarshaler.
func (q Quiet) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// Contains reports whether a time is quiet, in its own time zone.
func (q Quiet) Contains(t time.Time) bool {
	at, today := t.Hour()*60+t.Minute(), int(t.Weekday())
	if q.From < q.To {
		return q.Days[today] && at >= q.From && at < q.To
	}
	return q.Days[today] && at >= q.From || q.Days[(today+6)%7] && at < q.To
}

// quiet parses a quiet time.
func quiet(v node.Value) (Quiet, bool) {
	s, ok := v.Scalar()
	q := Quiet{Days: [7]bool{true, true, true, true, true, true, true}}
	times := s
	if names, rest, both := strings.Cut(s, " "); both {
		times, q.Days = rest, [7]bool{}
		for name := range strings.SplitSeq(names, ",") {
			i := slices.Index(weekdays(), name)
			ok = ok && i >= 0
			if i >= 0 {
				q.Days[i] = true
			}
		}
	}
	from, to, both := strings.Cut(times, "-")
	var good [2]bool
	q.From, good[0] = minutes(from)
	q.To, good[1] = minutes(to)
	if !ok || !both || !good[0] || !good[1] || q.From == 24*60 {
		v.Wrong("a quiet time", `write it as "22:00-06:00", or "sat,sun 00:00-24:00" with the days on which it begins: mon, tue, wed, thu, fri, sat, sun`)
		return Quiet{}, false
	}
	return q, true
}

// minutes parses a time of the day, up to 24:00.
func minutes(s string) (int, bool) {
	var h, m int
	if len(s) != 5 {
		return 0, false
	}
	if n, err := fmt.Sscanf(s, "%02d:%02d", &h, &m); n != 2 || err != nil || h < 0 || m < 0 || h > 24 || m > 59 || h == 24 && m > 0 {
		return 0, false
	}
	return h*60 + m, true
}

// webURL parses the URL of a webhook.
func webURL(v node.Value) (string, bool) {
	s, ok := node.Text(2048)(v)
	if !ok {
		return "", false
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		v.Problem("write it as https://alerts.example/hook", "%s is not the URL of a webhook", node.Quote(value.DisplayURL(s)))
		return "", false
	}
	return s, true
}

// webAddress parses the address of a webhook's server, whose port may be absent.
func webAddress(v node.Value) (string, bool) {
	s, ok := v.Scalar()
	if !ok {
		v.Wrong("the address of a server", "write its IP address, as in 192.0.2.1")
		return "", false
	}
	a, ok := value.HostAddress(v, s, 443)
	return a.String(), ok
}

// checkWebhook checks the keys of a sink of kind webhook together.
func (s *Sink) checkWebhook(m *node.Mapping) {
	m.Require("url", "write the URL, as in https://alerts.example/hook")
	m.Require("secret_file", "write the file of the secret; make it with: openssl rand -base64 32 > FILE; chmod 600 FILE")
	if s.Events == All || s.Events == Banned {
		m.At("events").Problem("write alerts or acts", "a webhook gets no queries")
	}
	u, err := url.Parse(s.URL)
	if err != nil || s.URL == "" {
		return
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	a, err := netip.ParseAddr(host)
	switch {
	case err == nil && m.Has("address"):
		m.At("address").Problem("take it out", "the URL has the address already")
	case err == nil:
		if n, err := strconv.ParseUint(port, 10, 16); err == nil && n > 0 {
			s.Address = netip.AddrPortFrom(a, uint16(n)).String()
		} else {
			m.At("url").Problem("write a port from 1 to 65535, or none", "%s is no port", node.Quote(port))
		}
	case !m.Has("address"):
		m.At("url").Problem("write the server's IP address as address: Rideau may be the machine's own resolver, and looks up no names", "there is no address for %s", node.Quote(host))
	case s.Name == "":
		s.Name = host
	}
	if u.Scheme == "http" {
		for _, k := range []string{"name", "ca_file", "pins", "certificate", "key"} {
			if m.Has(k) {
				m.At(k).Problem("take it out, or write the url as https://", "%s is for a url that begins with https://", k)
			}
		}
		if ap, err := netip.ParseAddrPort(s.Address); err == nil && !ap.Addr().IsLoopback() {
			m.At("url").Warn("write https://", "whoever sees the network can read the alerts")
		}
		s.Name = ""
	}
	s.checkPair(m)
	if !m.Has("spool") {
		m.At("url").Warn("write spool: 16MiB, and evidence.dir; or spool: 0 if this may be", "without a spool, events are lost while the server takes none")
	}
}
