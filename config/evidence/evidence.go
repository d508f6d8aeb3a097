// Package evidence parses the section evidence of a configuration: what is recorded of bans and of operators' acts, and where it goes.
package evidence

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rideau/config/node"
	"rideau/config/value"
)

// Evidence says what is recorded, and where.
type Evidence struct {
	// Node is the name of this server in events; empty for the name of the host.
	Node string `key:"node" applies:"restart"`
	// Dir is the folder for what sinks could not deliver. Load makes it relative to the directory of the configuration file.
	Dir string `key:"dir" applies:"restart"`
	// Pseudonyms are what sinks with clients: pseudonym tell of clients.
	Pseudonyms Pseudonyms `key:"pseudonyms"`
	// Seal is how sinks with seal: true are sealed.
	Seal Seal `key:"seal"`
	// Store is the node's own history.
	Store Store `key:"store"`
	// Alerts say what is watched, and how alerts are told.
	Alerts Alerts `key:"alerts"`
	// Sinks are the places that events go to.
	Sinks []Sink `key:"sinks" applies:"live"`
	// State is the state folder. Load sets it.
	State string `key:"-"`
}

// Seal says how files are sealed, so that a change in them is found.
type Seal struct {
	// KeyFile is the file of the private key. Load makes it relative to the directory of the configuration file.
	KeyFile string `key:"key_file" applies:"live"`
	// Every is the longest time between two seals, Events the number of events after which there is one.
	Every  time.Duration `key:"every" applies:"live"`
	Events int           `key:"events" applies:"live"`
	// Within is the longest time that an event has no seal. Until then it could be cut off unseen.
	Within time.Duration `key:"within" applies:"live"`
}

// Pseudonyms say where the keys of clients' pseudonyms are, and how long they live.
type Pseudonyms struct {
	// KeyDir is their folder. Load makes it relative to the directory of the configuration file.
	KeyDir string `key:"key_dir" applies:"live"`
	// Rotate is how long a key makes pseudonyms, Keep how long it is kept after that.
	Rotate time.Duration `key:"rotate" applies:"live"`
	Keep   time.Duration `key:"keep" applies:"live"`
}

// Clients says what is told of clients' addresses.
type Clients string

// What is told of an address.
const (
	Address   Clients = "address"   // all of it
	Network   Clients = "network"   // the /24 of IPv4, the /48 of IPv6
	Pseudonym Clients = "pseudonym" // a name that only the holder of the keys can trace to the address
	None      Clients = "none"      // nothing
)

// Events chooses what goes to a sink.
type Events string

// Choices of events. Operators' acts always go to a sink, unless it is for alerts.
const (
	Banned     Events = "banned" // queries that a ban decided, or would have in monitor mode or without an exception
	All        Events = "all"    // all queries
	Acts       Events = "acts"   // no queries
	OnlyAlerts Events = "alerts" // nothing but alerts
)

// Kind is the kind of a sink.
type Kind string

// Kinds of sinks.
const (
	File   Kind = "file"
	Stdout Kind = "stdout"
	Syslog Kind = "syslog"
	Dnstap Kind = "dnstap"
	// InStore is the kind of the sink that the section store is. No configuration has it.
	InStore Kind = "store"
	Webhook Kind = "webhook"
)

// Format is how events are written.
type Format string

// Formats.
const (
	Rideau Format = "rideau" // our own
	OCSF   Format = "ocsf"   // Open Cybersecurity Schema Framework 1.8.0
	ECS    Format = "ecs"    // Elastic Common Schema 9
)

// Sink is a place that events go to.
type Sink struct {
	// ID is the name of the sink in metrics and messages.
	ID string `key:"id"`
	// Kind says what it is.
	Kind Kind `key:"kind"`
	// Events, Bans and Groups choose what goes to it. Without bans or groups it gets events of all of them.
	Events Events   `key:"events"`
	Bans   []string `key:"bans"`
	Groups []string `key:"groups"`
	// Clients says what is told of clients' addresses.
	Clients Clients `key:"clients"`
	// Sample is the share of queries without a ban that go to it, with events: all.
	Sample float64 `key:"sample"`
	// Format is how events are written.
	Format Format `key:"format"`
	// Spool is the size of the largest spool, in bytes; 0 for none.
	Spool int64 `key:"spool"`

	// Path is the file of a sink of kind file, or of kind dnstap without an address. Load makes it relative to the directory of the configuration file.
	Path string `key:"path"`
	// MaxBytes and MaxAge say when the file is renamed and a new one begins; 0 for no such limit.
	MaxBytes int64         `key:"max_bytes"`
	MaxAge   time.Duration `key:"max_age"`
	// KeepFiles and KeepDays bound how many renamed files are kept, and for how long; 0 for no such bound.
	KeepFiles int `key:"keep_files"`
	KeepDays  int `key:"keep_days"`
	// Compress says how renamed files are compressed.
	Compress string `key:"compress"`

	// Seal says that the file is sealed.
	Seal bool `key:"seal"`

	// Store is what a sink of kind InStore is made of.
	Store Store `key:"-"`

	// Address is where the server is: a scheme, and an IP address with a port or the path of a socket.
	Address string `key:"address"`
	// Name is the name that the certificate of a server over TLS has to be for; empty for its address.
	Name string `key:"name"`
	// CAFile has the certificates that are trusted instead of the system's. Load makes it relative to the directory of the configuration file.
	CAFile string `key:"ca_file"`
	// Pins are SHA-256 digests of public keys, in base64. The server must have one of these keys.
	Pins []string `key:"pins"`
	// Certificate and Key are the files of what Rideau shows to the server, relative as CAFile is.
	Certificate string `key:"certificate"`
	Key         string `key:"key"`
	// Facility is where messages of syslog say that they come from.
	Facility Facility `key:"facility"`
	// Enterprise is the private enterprise number in the id of their structured data.
	Enterprise int `key:"enterprise"`
	// MaxMessage is the largest size of a message of syslog in bytes.
	MaxMessage int `key:"max_message"`

	// URL is where a sink of kind webhook posts events, and SecretFile has what it signs them with. Load makes the file relative as CAFile is.
	URL        string `key:"url"`
	SecretFile string `key:"secret_file"`

	// Line is the line where the sink begins.
	Line int `key:"-"`
}

// Default is the section that holds where a configuration says nothing.
func Default() Evidence {
	return Evidence{Pseudonyms: Pseudonyms{Rotate: 720 * time.Hour, Keep: 9600 * time.Hour}, Seal: Seal{Every: time.Hour, Events: 100_000, Within: time.Minute}, Store: defaultStore(), Alerts: defaultAlerts()}
}

// MaxSinks is the number of sinks that a configuration may have.
const MaxSinks = 16

// Read reads the section.
func (e *Evidence) Read(m *node.Mapping) {
	node.Set(m, "node", &e.Node, node.Text(255))
	node.Set(m, "dir", &e.Dir, value.FileOrNone)
	m.Section("pseudonyms", e.Pseudonyms.read)
	m.Section("seal", e.Seal.read)
	m.Section("store", func(m *node.Mapping) { e.Store.read(m, e.Pseudonyms.KeyDir != "") })
	m.Section("alerts", e.Alerts.read)
	seen := taken{ids: map[string]int{}, paths: map[string]int{}}
	node.Set(m, "sinks", &e.Sinks, node.List(0, MaxSinks, func(v node.Value) (Sink, bool) { return e.readSink(v, seen) }))
}

func (s *Seal) read(m *node.Mapping) {
	node.Set(m, "key_file", &s.KeyFile, value.FileOrNone)
	node.Set(m, "every", &s.Every, node.Duration(time.Minute, 24*time.Hour))
	node.Set(m, "events", &s.Events, node.Integer(100, 10_000_000))
	node.Set(m, "within", &s.Within, node.Duration(time.Second, 24*time.Hour))
}

func (p *Pseudonyms) read(m *node.Mapping) {
	node.Set(m, "key_dir", &p.KeyDir, value.FileOrNone)
	node.Set(m, "rotate", &p.Rotate, node.Duration(time.Hour, 366*24*time.Hour))
	node.Set(m, "keep", &p.Keep, node.Duration(0, 10*366*24*time.Hour))
}

// taken are the ids and the files of the sinks before, with the lines where those begin.
type taken struct{ ids, paths map[string]int }

// someKinds are keys that sinks of some kinds have, by kind.
func someKinds() map[Kind][]string {
	return map[Kind][]string{
		File:    {"path", "max_bytes", "max_age", "keep_files", "keep_days", "compress", "seal", "format"},
		Stdout:  {"format"},
		Syslog:  {"address", "name", "ca_file", "pins", "certificate", "key", "facility", "enterprise", "max_message", "format"},
		Dnstap:  {"address", "name", "ca_file", "pins", "certificate", "key", "path", "max_bytes", "max_age", "keep_files", "keep_days", "compress"},
		Webhook: {"url", "secret_file", "address", "name", "ca_file", "pins", "certificate", "key", "format"},
	}
}

// checkKinds refuses keys that sinks of the kind do not have.
func (s *Sink) checkKinds(m *node.Mapping) {
	kinds := someKinds()
	told := map[string]bool{}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		for _, k := range kinds[kind] {
			if m.Has(k) && s.Kind != "" && !told[k] && !slices.Contains(kinds[s.Kind], k) {
				told[k] = true
				of := kindsWith(k)
				m.At(k).Problem("take it out, or write kind: "+strings.Join(of, " or kind: "), "%s is for sinks of kind %s", k, strings.Join(of, ", "))
			}
		}
	}
}

// kindsWith returns the kinds of sinks that have a key.
func kindsWith(k string) []string {
	var out []string
	for kind, keys := range someKinds() {
		if slices.Contains(keys, k) {
			out = append(out, string(kind))
		}
	}
	slices.Sort(out)
	return out
}

func (e *Evidence) readSink(v node.Value, seen taken) (Sink, bool) {
	m := v.Mapping()
	s := Sink{Events: Banned, Clients: Address, Sample: 1, Format: Rideau, MaxBytes: 100 << 20, KeepFiles: 10, Compress: "none", Facility: "local0", Enterprise: 32473, Line: v.Line()}
	node.Set(m, "id", &s.ID, value.Identifier("sink"))
	node.Set(m, "kind", &s.Kind, node.Word("a kind of sink", File, Stdout, Syslog, Dnstap, Webhook))
	if s.Kind == Webhook {
		s.Events = OnlyAlerts
	}
	node.Set(m, "events", &s.Events, node.Word("a choice of events", Banned, All, Acts, OnlyAlerts))
	node.Set(m, "bans", &s.Bans, node.List(0, 64, node.Distinct(value.Reference("ban"))))
	node.Set(m, "groups", &s.Groups, node.List(0, 1024, node.Distinct(value.Reference("group", "all"))))
	node.Set(m, "clients", &s.Clients, node.Word("a part of addresses", Address, Network, Pseudonym, None))
	node.Set(m, "sample", &s.Sample, node.Share)
	node.Set(m, "format", &s.Format, node.Word("a format", Rideau, OCSF, ECS))
	node.Set(m, "spool", &s.Spool, node.Size(0, 1<<40))
	node.Set(m, "path", &s.Path, value.File)
	node.Set(m, "max_bytes", &s.MaxBytes, node.Size(1<<20, 1<<40))
	node.Set(m, "max_age", &s.MaxAge, node.Duration(0, 366*24*time.Hour))
	node.Set(m, "keep_files", &s.KeepFiles, node.Integer(0, 100_000))
	node.Set(m, "keep_days", &s.KeepDays, node.Integer(0, 36_600))
	node.Set(m, "compress", &s.Compress, node.Word("a compression", "none", "gzip", "zstd"))
	node.Set(m, "seal", &s.Seal, node.Boolean)
	s.readRemote(m)
	m.Done()
	m.Require("id", "give the sink an id")
	m.Require("kind", "write kind: file, stdout, syslog, dnstap or webhook")
	switch s.Kind {
	case File:
		m.Require("path", "write the path of the file")
	case Syslog:
		s.checkSyslog(m)
	case Dnstap:
		s.checkDnstap(m)
	case Webhook:
		s.checkWebhook(m)
	}
	s.checkKinds(m)
	if s.Spool > 0 && e.Dir == "" {
		m.At("spool").Problem("write evidence.dir, such as /var/lib/rideau/evidence, or spool: 0", "there is no folder for the spool")
	}
	if s.Clients == Pseudonym && e.Pseudonyms.KeyDir == "" {
		m.At("clients").Problem("set evidence.pseudonyms.key_dir to a folder that only Rideau may read", "pseudonyms need keys")
	}
	if s.Seal && e.Seal.KeyFile == "" {
		m.At("seal").Problem("set evidence.seal.key_file; rideau seal-key makes it", "seals need a key")
	}
	if s.Sample != 1 && s.Events != All {
		m.At("sample").Problem("write events: all, or take it out", "sample is for sinks with events: all")
	}
	if first, dup := seen.paths[filepath.Clean(s.Path)]; dup && s.Path != "" {
		m.At("path").Problem("choose another file", "two sinks write to %s (first on line %d)", node.Quote(s.Path), first)
	}
	seen.paths[filepath.Clean(s.Path)] = s.Line
	if s.ID == StoreID {
		m.At("id").Problem("choose another id", "%s is the id of evidence.store", node.Quote(s.ID))
		return s, false
	}
	if first, dup := seen.ids[s.ID]; dup && s.ID != "" {
		m.At("id").Problem("choose another id", "two sinks have the id %s (first on line %d)", node.Quote(s.ID), first)
		return s, false
	}
	seen.ids[s.ID] = s.Line
	return s, m.Sound()
}
