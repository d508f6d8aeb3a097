package sockets

import (
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

// storePrefix begins the names of the sockets that a Keeper was asked to keep. Others that
// it hands over are of a socket unit: it has bound them, and keeps them by itself.
const storePrefix = "rideau-"

// storeName is the name for the sockets of an address. It may not have a colon.
func storeName(network string, a netip.AddrPort) string {
	return storePrefix + network + "-" + strings.ReplaceAll(a.String(), ":", "_")
}

func stored(k inherited.Socket) bool { return strings.HasPrefix(k.Name, storePrefix) }

// Inherit has the Set use sockets that this process was started with, where a
// configuration names their addresses, and has by keep those that it binds itself. by may
// be nil. Inherit is called before the first Bind. It owns the files.
func (s *Set) Inherit(files []*os.File, by Keeper) {
	all, problems := inherited.New(files)
	for _, p := range problems {
		s.log.Warn("what the service manager has handed over cannot be used", "error", p)
	}
	s.inherited, s.keeper = all, by
}

// holder is who keeps a socket open beside this process.
type holder int

const (
	nobody holder = iota
	store         // the Keeper, which was asked to
	unit          // a socket unit
)

// given reports whether an address has a socket of a socket unit.
func (s *Set) given(a netip.AddrPort) bool {
	return slices.ContainsFunc(s.inherited.All(), func(k inherited.Socket) bool { return k.Addr == a && !stored(k) })
}

// hold settles who holds the sockets of b beside this process. It is called when b is
// about to be served, before those of the configuration before are retired.
func (s *Set) hold(b *Binding) {
	var bound []*socket
	for _, k := range b.fresh {
		bound = append(bound, k)
	}
	slices.SortFunc(bound, func(x, y *socket) int { return x.Addr().Compare(y.Addr()) })
	s.tellInherited(bound)
	s.inherited.Close(stored) // those that are used are open in the listeners
	for _, k := range bound {
		if s.given(k.Addr()) {
			k.holder = unit
		} else if s.store(k) {
			k.holder = store
		}
		k.Held(k.holder != nobody)
	}
}

// tellInherited tells, once, which inherited sockets have no address in the configuration,
// and which addresses have none where others have.
func (s *Set) tellInherited(bound []*socket) {
	all := s.inherited.All()
	if s.toldInherited {
		return
	}
	s.toldInherited = true
	has := func(network string, a netip.AddrPort) bool {
		return slices.ContainsFunc(all, func(k inherited.Socket) bool { return k.Network == network && k.Addr == a })
	}
	units := 0
	for _, k := range all {
		if !stored(k) {
			units++
		}
		switch named := slices.ContainsFunc(bound, func(b *socket) bool { return b.Addr() == k.Addr }); {
		case named:
		case stored(k):
			s.log.Info("a socket of before is closed: listen.addresses does not name it", "network", k.Network, "address", k.Addr)
			s.forget(k.Network, k.Addr)
		default:
			s.log.Warn("a socket unit has bound an address that listen.addresses does not name, so that queries that come there are not answered; add it there, or take it from the unit",
				"network", k.Network, "address", k.Addr, "unit", k.Name)
		}
	}
	for _, b := range bound {
		for _, network := range []string{"udp", "tcp"} {
			if units > 0 && !has(network, b.Addr()) {
				s.log.Info("the socket unit has no socket for an address of listen.addresses; rideau has bound it", "network", network, "address", b.Addr())
			}
		}
	}
}

// store has the keeper keep the sockets of k, and reports whether it does, as far as that
// can be known.
func (s *Set) store(k *socket) bool {
	if s.keeper == nil {
		return false
	}
	n := 0
	k.Descriptors(func(string, netip.AddrPort, int) error { n++; return nil })
	if most, known := s.keeper.Capacity(); known && s.kept+n > most {
		s.log.Warn("the service manager keeps fewer sockets than there are, so that a restart loses queries; raise FileDescriptorStoreMax= of the service",
			"address", k.Addr(), "kept", most, "needed", s.kept+n)
		return false
	}
	err := k.Descriptors(func(network string, a netip.AddrPort, fd int) error {
		return s.keeper.Store(storeName(network, a), fd)
	})
	if err != nil {
		s.log.Warn("the service manager could not be asked to keep a socket, so that a restart loses queries", "address", k.Addr(), "error", err)
		return false
	}
	s.kept += n
	k.kept = n
	return true
}

// release has the keeper close what it keeps of k, which is about to be retired. What a
// socket unit has bound stays as it is.
func (s *Set) release(k *socket) {
	if k.holder != store {
		return
	}
	k.holder = nobody
	k.Held(false)
	s.kept -= k.kept
	for _, network := range []string{"udp", "tcp"} {
		s.forget(network, k.Addr())
	}
}

func (s *Set) forget(network string, a netip.AddrPort) {
	if s.keeper == nil {
		return
	}
	if err := s.keeper.Forget(storeName(network, a)); err != nil {
		s.log.Warn("the service manager could not be told to close a socket", "network", network, "address", a, "error", err)
	}
}
