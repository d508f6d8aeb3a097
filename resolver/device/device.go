// Package device counts the devices that try to go round the resolver, by
// group of clients.
//
// A device is a client address: the same machine under two addresses is two,
// and the machines behind one translated address are one. Memory is bounded,
// whoever asks: devices for which there is no room are not told apart, and
// their attempts are counted as such. What there is room for is given up when
// it has been quiet for so long.
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

// Options bound a Table. Zero values stand for the defaults.
type Options struct {
	// Window is for how long a device counts after its last attempt. Default:
	// 24 hours.
	Window time.Duration
	// Quiet is for how long a device is not told of again. Default: an hour.
	Quiet time.Duration
	// MaxDevices is how many devices of one group are told apart. Default:
	// 65,536.
	MaxDevices int
	// MaxTotal is how many are in all groups together; an entry takes about
	// 100 octets. Default: 262,144.
	MaxTotal int
	// MaxGroups is how many groups are told apart in the life of the Table,
	// groups that a reload took away among them; those beyond count as
	// OtherGroups. Default: 2,048.
	MaxGroups int
}

// OtherGroups is what groups beyond Options.MaxGroups count as.
const OtherGroups = "other"

// Table remembers which devices were seen. It is safe for concurrent use, and
// starts nothing. Instants may come in any order; it counts in whole seconds.
type Table struct {
	opt   Options
	seed  maphash.Seed
	start time.Time // instants are kept as the time since then

	mu     sync.Mutex                        // held while groups is replaced
	groups atomic.Pointer[map[string]*group] // what it points at is never written

	shards [shards]shard
	swept  atomic.Int64 // when room was last looked for, in seconds since start
}

// shards divide the devices, so that no two workers wait for each other often.
const shards = 16

type shard struct {
	mu     sync.Mutex
	seen   map[key]times // guarded by mu
	oldest int64         // guarded by mu; no entry's last attempt is earlier
	_      [32]byte
}

// key has no pointers, so that the garbage collector passes the maps by.
type key struct {
	addr  [16]byte
	group uint32
}

// times are in seconds since Table.start.
type times struct {
	last int64 // attempt
	told int64
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

// Seen counts an attempt of a client of a group. It reports whether somebody
// should be told: whether it is the device's first attempt, or the first for
// Options.Quiet after one that was told of. It is false for a device for which
// there is no room. Seen does not allocate for a device that it knows.
func (t *Table) Seen(id string, client netip.Addr, now time.Time) (tell bool) {
	g := (*t.groups.Load())[id]
	if g == nil {
		g = t.add(id)
	}
	g.attempts.Add(1)
	k := key{client.As16(), g.number}
	s := &t.shards[maphash.Comparable(t.seed, k)%shards]
	at := int64(now.Sub(t.start) / time.Second)
	tell, ok := t.note(s, g, k, at)
	if !ok && t.mayMakeRoom(at) {
		t.sweepAll(at)
		tell, ok = t.note(s, g, k, at)
	}
	if !ok {
		g.overflow.Add(1)
	}
	return tell
}

// note remembers an attempt; ok is false if there is no room.
func (t *Table) note(s *shard, g *group, k key, at int64) (tell, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, known := s.seen[k]
	switch {
	case !known && !t.room(s, g):
		return false, false
	case !known:
		g.devices.Add(1)
		if len(s.seen) == 0 || at < s.oldest {
			s.oldest = at
		}
		e = times{at, at}
		tell = true
	case t.past(e, at):
		s.oldest = min(s.oldest, at-t.window()) // others may be past, too
		e = times{at, at}                       // it counts anew, in its old place
		tell = true
	default:
		e.last = max(e.last, at)
		if tell = at-e.told >= int64(t.opt.Quiet/time.Second); tell {
			e.told = at
		}
	}
	s.seen[k] = e
	return tell, true
}

// mayMakeRoom reports whether it is time to look for room again: not more
// often than every minute, since looking takes a while.
func (t *Table) mayMakeRoom(at int64) bool {
	last := t.swept.Load()
	return (at-last >= 60 || at < last) && t.swept.CompareAndSwap(last, at)
}

// room reports whether a device more may be told apart. s is locked. What
// other shards add at the same moment may exceed the bound by one each.
func (t *Table) room(s *shard, g *group) bool {
	return len(s.seen) < max(t.opt.MaxTotal/shards, 1) && g.devices.Load() < int64(t.opt.MaxDevices)
}

// past reports whether an entry no longer counts. One from the future is of a
// clock that was set back since, and would stay for ever.
func (t *Table) past(e times, at int64) bool {
	return at-e.last >= t.window() || e.last-at >= t.window()
}

func (t *Table) window() int64 { return int64(t.opt.Window / time.Second) }

// sweepAll gives up the devices that no longer count.
func (t *Table) sweepAll(at int64) {
	for i := range t.shards {
		t.sweep(&t.shards[i], at)
	}
}

func (t *Table) sweep(s *shard, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 || !t.past(times{last: s.oldest}, at) {
		return
	}
	byNumber := make(map[uint32]*group)
	for _, g := range *t.groups.Load() {
		byNumber[g.number] = g
	}
	s.oldest = at
	for k, e := range s.seen {
		if t.past(e, at) {
			delete(s.seen, k)
			byNumber[k.group].devices.Add(-1)
			continue
		}
		s.oldest = min(s.oldest, e.last)
	}
}

// add is the group of that id, made if there is none.
func (t *Table) add(id string) *group {
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

// Group is what is known of a group at one moment.
type Group struct {
	Group    string // its id
	Attempts uint64 // never falls
	Devices  int    // with an attempt within Options.Window
	Overflow uint64 // of Attempts, those of devices that were too many to be told apart
}

// Groups returns all groups that were ever seen, sorted by id. The caller owns
// them.
func (t *Table) Groups(now time.Time) []Group {
	t.sweepAll(int64(now.Sub(t.start) / time.Second))
	var out []Group
	for id, g := range *t.groups.Load() {
		// In this order, so that there are never more of those than of these.
		overflow := g.overflow.Load()
		out = append(out, Group{Group: id, Attempts: g.attempts.Load(), Devices: int(g.devices.Load()), Overflow: overflow})
	}
	slices.SortFunc(out, func(a, b Group) int { return cmp.Compare(a.Group, b.Group) })
	return out
}
