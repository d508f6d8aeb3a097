package datagram

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"rideau/resolver/limit"
)

// drops is what is known of the datagrams that the kernel has dropped.
type drops struct {
	mu       sync.Mutex
	last     uint32 // the kernel's count when it was last read; guarded by mu
	lost     losses // guarded by mu
	shielded bool   // there is a shield; guarded by mu
}

// losses implements socket. The losses of a closed socket are still known.
func (c *batchConn) losses() losses {
	d := &c.drops
	d.mu.Lock()
	defer d.mu.Unlock()
	c.count()
	return d.lost
}

// count adds what was lost since the last call. It is called with drops.mu
// held.
func (c *batchConn) count() {
	d := &c.drops
	d.lost.backlog = 0
	c.use(func(fd int) error {
		// The kernel's struct is an array: SO_MEMINFO of socket(7).
		const queued, capacity, drops = 0, 1, 8
		var info [drops + 1]uint32
		n := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&n)), 0)
		if errno != 0 || n != uint32(unsafe.Sizeof(info)) {
			return errno
		}
		more := uint64(info[drops] - d.last)
		d.last = info[drops]
		if d.shielded {
			d.lost.shield += more
		} else {
			d.lost.full += more
		}
		if info[capacity] > 0 {
			d.lost.backlog = min(float64(info[queued])/float64(info[capacity]), 1)
		}
		return nil
	})
}

// shield implements socket.
func (c *batchConn) shield(s *limit.Shield) error {
	d := &c.drops
	d.mu.Lock()
	defer d.mu.Unlock()
	if s == nil && !d.shielded {
		return nil
	}
	c.count()
	err := c.use(func(fd int) error {
		if s == nil {
			return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
		}
		p := program(s, c.v6)
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]})
	})
	if err == nil {
		d.shielded = s != nil
	}
	return err
}

// program is the shield as a program of classic BPF, for a socket of one
// family: a binary search for the network that a datagram comes from. Of a
// network that is found, datagrams pass at random.
//
// The machine's word holds half of an IPv6 network. The program searches for a
// hash of both halves instead, with factors that are random in each program, so
// that nobody can choose an address that has the hash of another network.
func program(s *limit.Shield, v6 bool) []unix.SockFilter {
	const netOff, adOff, adRandom = 0xfff00000, 0xfffff000, 56
	const source, source6 = 12, 8 // in an IPv4 header, and an IPv6 one
	var b builder
	keys := make([]uint32, 0, len(s.Networks))
	if v6 {
		high, low := rand.Uint32()|1, rand.Uint32()|1
		b.add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, netOff+source6)
		b.add(unix.BPF_ALU|unix.BPF_MUL|unix.BPF_K, high)
		b.add(unix.BPF_MISC|unix.BPF_TAX, 0)
		b.add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, netOff+source6+4)
		b.add(unix.BPF_ALU|unix.BPF_RSH|unix.BPF_K, 8)
		b.add(unix.BPF_ALU|unix.BPF_MUL|unix.BPF_K, low)
		b.add(unix.BPF_ALU|unix.BPF_ADD|unix.BPF_X, 0)
		for _, n := range s.Networks {
			if n.Is6() {
				keys = append(keys, uint32(n.Upper()>>24)*high+uint32(n.Upper()&(1<<24-1))*low)
			}
		}
		slices.Sort(keys)
		keys = slices.Compact(keys)
	} else {
		b.add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, netOff+source)
		b.add(unix.BPF_ALU|unix.BPF_RSH|unix.BPF_K, 8)
		for _, n := range s.Networks {
			if !n.Is6() {
				keys = append(keys, uint32(n.Upper()))
			}
		}
	}
	b.search(keys)
	for _, at := range b.found {
		b.p[at].K = uint32(len(b.p) - at - 1)
	}
	b.add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, adOff+adRandom)
	b.jump(unix.BPF_JGE, uint32(s.Pass*math.MaxUint32), 0, 1)
	b.add(unix.BPF_RET|unix.BPF_K, 0)
	b.add(unix.BPF_RET|unix.BPF_K, math.MaxUint32)
	return b.p
}

// builder builds a program.
type builder struct {
	p     []unix.SockFilter
	found []int // jumps to the code for a network that was found
}

func (b *builder) add(code uint16, k uint32) { b.p = append(b.p, unix.SockFilter{Code: code, K: k}) }

func (b *builder) jump(how uint16, k uint32, yes, no uint8) {
	b.p = append(b.p, unix.SockFilter{Code: unix.BPF_JMP | how | unix.BPF_K, K: k, Jt: yes, Jf: no})
}

// far adds a jump whose target is set later. Conditional jumps reach 255
// instructions only.
func (b *builder) far() int {
	b.add(unix.BPF_JMP|unix.BPF_JA, 0)
	return len(b.p) - 1
}

// search adds a search for the accumulator among keys, which are in ascending
// order. A datagram whose key is not among them passes.
func (b *builder) search(keys []uint32) {
	const few = 6
	if len(keys) <= few {
		for _, k := range keys {
			b.jump(unix.BPF_JEQ, k, 0, 1)
			b.found = append(b.found, b.far())
		}
		b.add(unix.BPF_RET|unix.BPF_K, math.MaxUint32)
		return
	}
	half := len(keys) / 2
	b.jump(unix.BPF_JGE, keys[half], 0, 1)
	right := b.far()
	b.search(keys[:half])
	b.p[right].K = uint32(len(b.p) - right - 1)
	b.search(keys[half:])
}
