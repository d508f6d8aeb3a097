// Package held has the sockets that others hold open beside this process: those with which it was started, and those that the
// service manager keeps for the process that it starts next.
package held

import (
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"

	"rideau/resolver/listener/inherited"
)

// Keeper keeps sockets open while no Rideau runs, and hands them to the next one: the
// service manager. It is safe for concurrent use.
type Keeper interface {
	// Capacity is how many sockets it keeps; known is false if it does not say.
	Capacity() (n int, known bool)
	// Store has it keep a copy of a descriptor under a name. Under one name it may
	// keep more than one.
	Store(name string, fd int) error
	// Forget has it close what it keeps under a name.
	Forget(name string) error
}

// Bound is what is bound to an address.
type Bound interface {
	Addr() netip.AddrPort
	// Descriptors calls f with each socket, "udp" or "tcp", and its address, until f returns
	// an error. The descriptor is valid during the call only.
	Descriptors(f func(network string, a netip.AddrPort, fd int) error) error
}

// Sockets has what this process was started with, and has a Keeper keep what it binds. One goroutine at a time
// may call its methods. A nil Sockets has none and keeps none.
type Sockets struct {
	log    *slog.Logger
	taken  *inherited.Sockets
	keeper Keeper // nil for none
	units  int    // sockets of socket units
	used   map[inherited.Socket]bool
	told   bool
	kept   int // descriptors that the keeper keeps
}

// New makes Sockets of files with which the process was started, which it owns. by may be nil.
func New(log *slog.Logger, files []*os.File, by Keeper) *Sockets {
	all, problems := inherited.New(files)
	for _, p := range problems {
		log.Warn("what the service manager has handed over cannot be used", "error", p)
	}
	s := &Sockets{log: log, taken: all, keeper: by, used: map[inherited.Socket]bool{}}
	for _, k := range all.All() {
		if !stored(k) {
			s.units++
		}
	}
	return s
}

// Taken are the sockets with which the process was started: at first all, and after Settle those of socket units.
func (s *Sockets) Taken() *inherited.Sockets {
	if s == nil {
		return nil
	}
	return s.taken
}

// storePrefix begins the names of the sockets that a Keeper was asked to keep. Others that
// it hands over are of a socket unit: it has bound them, and keeps them by itself.
const storePrefix = "rideau-"

func stored(k inherited.Socket) bool { return strings.HasPrefix(k.Name, storePrefix) }

// Hold is what is known of the sockets of an address, as far as others hold them.
type Hold struct {
	somebody bool
	kept     int      // descriptors that the Keeper keeps
	names    []string // under which it does
}

// Somebody reports whether another process holds the sockets, too, and gives them to the one that serves them next.
func (h Hold) Somebody() bool { return h.somebody }

// Hold settles who holds the sockets of b beside this process, and has the Keeper keep them if nobody does. protocol tells apart
// the names of sockets with one address; it is "" for plain DNS. Hold is called when b is about to be served.
func (s *Sockets) Hold(protocol string, b Bound) Hold {
	if s == nil {
		return Hold{}
	}
	given, n := false, 0
	b.Descriptors(func(network string, a netip.AddrPort, _ int) error {
		n++
		found := false
		for _, k := range s.taken.All() {
			if k.Network == network && k.Addr == a {
				found, s.used[k], given = true, true, given || !stored(k)
			}
		}
		if !s.told && s.units > 0 && !found {
			s.log.Info("the socket unit has no socket for an address of the configuration; rideau has bound it", "network", network, "address", a)
		}
		return nil
	})
	if given {
		return Hold{somebody: true}
	}
	return s.store(protocol, b, n)
}

// Settle tells, once, which of the sockets with which the process was started no address of the configuration has used, and
// closes the copies that nobody needs any more. It is called when Hold was called for all that the first configuration names.
func (s *Sockets) Settle() {
	if s == nil || s.told {
		return
	}
	s.told = true
	for _, k := range s.taken.All() {
		switch {
		case s.used[k]:
		case stored(k):
			s.log.Info("a socket of before is closed: the configuration does not name its address", "network", k.Network, "address", k.Addr)
			s.forget(k.Name)
		default:
			s.log.Warn("a socket unit has bound an address that the configuration does not name, so that queries that come there are not answered; add it to listen, or take it from the unit",
				"network", k.Network, "address", k.Addr, "unit", k.Name)
		}
	}
	s.taken.Close(stored) // those that are used are open in the listeners
}

// store has the keeper keep the n sockets of b, and says whether it does, as far as that can be known.
func (s *Sockets) store(protocol string, b Bound, n int) Hold {
	if s.keeper == nil {
		return Hold{}
	}
	if most, known := s.keeper.Capacity(); known && s.kept+n > most {
		s.log.Warn("the service manager keeps fewer sockets than there are, so that a restart loses queries; raise FileDescriptorStoreMax= of the service",
			"address", b.Addr(), "kept", most, "needed", s.kept+n)
		return Hold{}
	}
	h := Hold{somebody: true, kept: n}
	err := b.Descriptors(func(network string, a netip.AddrPort, fd int) error {
		kind := network
		if protocol != "" {
			kind = protocol
		}
		name := storePrefix + kind + "-" + strings.ReplaceAll(a.String(), ":", "_") // which may not have a colon
		if !slices.Contains(h.names, name) {
			h.names = append(h.names, name)
		}
		return s.keeper.Store(name, fd)
	})
	if err != nil {
		s.log.Warn("the service manager could not be asked to keep a socket, so that a restart loses queries", "address", b.Addr(), "error", err)
		return Hold{}
	}
	s.kept += n
	return h
}

// Release has the keeper close what it keeps of sockets that are about to be retired. What a socket unit has bound stays as it
// is.
func (s *Sockets) Release(h Hold) {
	if s == nil {
		return
	}
	s.kept -= h.kept
	for _, name := range h.names {
		s.forget(name)
	}
}

func (s *Sockets) forget(name string) {
	if s.keeper == nil {
		return
	}
	if err := s.keeper.Forget(name); err != nil {
		s.log.Warn("the service manager could not be told to close a socket", "name", name, "error", err)
	}
}
