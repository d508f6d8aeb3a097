// Package device counts the devices that try to bypass the resolver, by group of
// clients.
//
// A device is a client address: a machine with two addresses is two devices, and
// the machines behind one translated address are one. Memory is bounded. When a
// table is full, attempts of further devices are counted as Overflow, without
// telling those devices apart, until entries have expired.
package device

import (
	"cmp"
	"hash/maphash"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options bound a Table. A zero field has the default.
type Options struct {
	// Window is how long a device counts after its last attempt. Default: 24
	// hours.
	Window time.Duration
	// Quiet is how long a device is not reported again. Default: an hour.
	Quiet time.Duration
	// MaxDevices is how many devices of one group have entries. Default: 65,536.
	MaxDevices int
	// MaxTotal is how many devices of all groups have entries; an entry takes
	// about 100 octets. Default: 262,144.
	MaxTotal int
	// MaxGroups is how many groups are counted in the life of the Table, those
	// included that a reload has removed; others count as OtherGroups. Default:
	// 2,048.
	MaxGroups int
}

// OtherGroups is the id that groups beyond Options.MaxGroups are counted under.
const OtherGroups = "other"

// Table counts devices. It is safe for concurrent use, and starts no goroutine.
// Times may come in any order; it counts in whole seconds.
type Table struct {
	opt   Options
	seed  maphash.Seed
	start time.Time // times are stored as seconds since then

	mu     sync.Mutex                        // held while groups is replaced
	groups atomic.Pointer[map[string]*group] // the map is never written

	shards [shards]shard
	swept  atomic.Int64 // when expired entries were last deleted, in seconds since start
}

// shards is the number of shards, so that workers rarely wait for each other.
const shards = 16

type shard struct {
	mu     sync.Mutex
	seen   map[key]times // guarded by mu
	oldest int64         // guarded by mu; no last attempt of an entry is earlier
	_      [32]byte
}

// key has no pointers, so that the garbage collector does not scan the maps.
type key struct {
	addr  [16]byte
	group uint32
}

// times are in seconds since Table.start.
type times struct {
	last     int64 // attempt
	reported int64
}

type group struct {
	number   uint32
	attempts atomic.Uint64
	overflow atomic.Uint64
	devices  atomic.Int64 // entries in all shards
}

// New makes a Table.
func New(o Options) *Table {
	o.Window = cmp.Or(o.Window, 24*time.Hour)
	o.Quiet = cmp.Or(o.Quiet, time.Hour)
	o.MaxDevices = cmp.Or(o.MaxDevices, 1<<16)
	o.MaxTotal = cmp.Or(o.MaxTotal, 1<<18)
	o.MaxGroups = cmp.Or(o.MaxGroups, 2048)
	t := &Table{opt: o, seed: maphash.MakeSeed(), start: time.Unix(0, 0)}
	t.groups.Store(&map[string]*group{})
	for i := range t.shards {
		t.shards[i].seen = map[key]times{}
	}
	return t
}

// Seen counts an attempt of a client of a group. It returns true if the attempt
// is worth a report: if it is the device's first, or the first for Options.Quiet
// after one that was reported. It is false for a device without an entry in a
// full table. Seen does not allocate for a device that has an entry.
func (t *Table) Seen(id string, client netip.Addr, now time.Time) (report bool) {
	g := (*t.groups.Load())[id]
	if g == nil {
		g = t.addGroup(id)
	}
	g.attempts.Add(1)
	k := key{client.As16(), g.number}
	s := &t.shards[maphash.Comparable(t.seed, k)%shards]
	at := int64(now.Sub(t.start) / time.Second)
	report, ok := t.update(s, g, k, at)
	if !ok && t.maySweep(at) {
		t.sweepAll(at)
		report, ok = t.update(s, g, k, at)
	}
	if !ok {
		g.overflow.Add(1)
	}
	return report
}

// update updates a device's entry; ok is false if it has none and the table is
// full.
func (t *Table) update(s *shard, g *group, k key, at int64) (report, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, known := s.seen[k]
	switch {
	case !known && t.full(s, g):
		return false, false
	case !known:
		g.devices.Add(1)
		if len(s.seen) == 0 || at < s.oldest {
			s.oldest = at
		}
		e = times{at, at}
		report = true
	case t.expired(e, at):
		s.oldest = min(s.oldest, at-t.window()) // others may have expired, too
		e = times{at, at}                       // a new device, in the old entry
		report = true
	default:
		e.last = max(e.last, at)
		if report = at-e.reported >= int64(t.opt.Quiet/time.Second); report {
			e.reported = at
		}
	}
	s.seen[k] = e
	return report, true
}

// maySweep reports whether it is time to delete expired entries again: once a
// minute at most, because that takes a while.
func (t *Table) maySweep(at int64) bool {
	last := t.swept.Load()
	return (at-last >= 60 || at < last) && t.swept.CompareAndSwap(last, at)
}

// full reports whether no device of a group may be added to s, which is locked.
// Other shards that add one at the same time may exceed the bound by one each.
func (t *Table) full(s *shard, g *group) bool {
	return len(s.seen) >= max(t.opt.MaxTotal/shards, 1) || g.devices.Load() >= int64(t.opt.MaxDevices)
}

// expired reports whether an entry no longer counts. An entry far in the future
// has expired too: the clock was set back, and it would stay forever.
func (t *Table) expired(e times, at int64) bool {
	return at-e.last >= t.window() || e.last-at >= t.window()
}

func (t *Table) window() int64 { return int64(t.opt.Window / time.Second) }

// sweepAll deletes the entries that have expired.
func (t *Table) sweepAll(at int64) {
	for i := range t.shards {
		t.sweep(&t.shards[i], at)
	}
}

func (t *Table) sweep(s *shard, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 || !t.expired(times{last: s.oldest}, at) {
		return
	}
	byNumber := make(map[uint32]*group)
	for _, g := range *t.groups.Load() {
		byNumber[g.number] = g
	}
	s.oldest = at
	for k, e := range s.seen {
		if t.expired(e, at) {
			delete(s.seen, k)
			byNumber[k.group].devices.Add(-1)
			continue
		}
		s.oldest = min(s.oldest, e.last)
	}
}

// addGroup adds a group, or returns the one of that id that was added meanwhile.
func (t *Table) addGroup(id string) *group {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := *t.groups.Load()
	if len(old) >= t.opt.MaxGroups && old[id] == nil {
		id = OtherGroups
	}
	if g := old[id]; g != nil {
		return g
	}
	all := maps.Clone(old)
	g := &group{number: uint32(len(all))}
	all[id] = g
	t.groups.Store(&all)
	return g
}

// Group is a group's figures at one moment.
type Group struct {
	Group    string // its id
	Attempts uint64 // since the Table was made
	Devices  int    // those with an attempt within Options.Window
	Overflow uint64 // the Attempts of devices without an entry
}

// Groups returns all groups that had an attempt, sorted by id. The caller owns
// them.
func (t *Table) Groups(now time.Time) []Group {
	t.sweepAll(int64(now.Sub(t.start) / time.Second))
	var out []Group
	for id, g := range *t.groups.Load() {
		// In this order, so that Overflow is never more than Attempts.
		overflow := g.overflow.Load()
		out = append(out, Group{Group: id, Attempts: g.attempts.Load(), Devices: int(g.devices.Load()), Overflow: overflow})
	}
	slices.SortFunc(out, func(a, b Group) int { return cmp.Compare(a.Group, b.Group) })
	return out
}
