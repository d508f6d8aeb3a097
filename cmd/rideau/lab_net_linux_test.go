package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// space is a network namespace, which ends with the test. Sockets and processes that
// are made in it stay in it.
type space struct {
	t    testing.TB
	name string
	fd   int
}

// newSpace makes a namespace with a loopback device, or skips the test if that is not
// possible.
func newSpace(t testing.TB, name string) *space {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces take root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("the command ip, of iproute2, is not installed")
	}
	s := &space{t: t, name: name}
	here := netns(t)
	defer unix.Close(here)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespace can be made here: %v", err)
	}
	s.fd = netns(t)
	back(here)
	t.Cleanup(func() { unix.Close(s.fd) })
	s.ip("link", "set", "lo", "up")
	return s
}

// netns returns a descriptor of this thread's namespace.
func netns(t testing.TB) int {
	t.Helper()
	fd, err := unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// back returns this thread to a namespace; it panics if that fails.
func back(fd int) {
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		panic(err)
	}
}

// do calls f on a thread that is in the namespace.
func (s *space) do(f func()) {
	s.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here := netns(s.t)
	defer unix.Close(here)
	if err := unix.Setns(s.fd, unix.CLONE_NEWNET); err != nil {
		s.t.Fatal(err)
	}
	defer back(here)
	f()
}

// ip runs the command ip.
func (s *space) ip(args ...string) {
	s.t.Helper()
	s.do(func() {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			s.t.Fatalf("%s: ip %v: %v: %s", s.name, args, err, out)
		}
	})
}

// wire joins two namespaces by a pair of Ethernet devices, on which nothing
// is lost.
func (s *space) wire(device, addr string, other *space, otherDevice, otherAddr string) {
	s.t.Helper()
	s.ip("link", "add", device, "type", "veth", "peer", "name", otherDevice, "netns", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), other.fd))
	s.ip("addr", "add", addr, "dev", device)
	s.ip("link", "set", "dev", device, "up")
	other.ip("addr", "add", otherAddr, "dev", otherDevice)
	other.ip("link", "set", otherDevice, "up")
}

// tun makes a device whose other end is the test itself.
func (s *space) tun(device, addr, peer string) *os.File {
	s.t.Helper()
	fd := -1
	s.do(func() {
		var err error
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
			s.t.Skipf("no devices can be made here: %v", err)
		}
		r, err := unix.NewIfreq(device)
		if err != nil {
			s.t.Fatal(err)
		}
		r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
			s.t.Skipf("no devices can be made here: %v", err)
		}
	})
	s.ip("addr", "add", addr, "peer", peer, "dev", device)
	s.ip("link", "set", "dev", device, "up", "mtu", "1500", "txqueuelen", "5000")
	f := os.NewFile(uintptr(fd), device)
	s.t.Cleanup(func() { f.Close() })
	return f
}

// path carries packets between two namespaces, with faults. Some kernels have netem for
// that; path works on all.
type path struct {
	mu     sync.Mutex // guards faults and rnd
	faults faults
	rnd    *rand.Rand
}

// faults are those of a path, the same in each direction.
type faults struct {
	loss      float64       // the share that is lost
	delay     time.Duration // of each
	mtu       int           // a longer packet is sent back, as by a router; 0 for none
	reorder   float64       // the share that others overtake
	duplicate float64       // the share that comes twice
	cut       bool          // every packet is lost
}

// newPath joins two namespaces by a path: from each, the other has the other address.
func newPath(a *space, deviceA string, addrA netip.Addr, b *space, deviceB string, addrB netip.Addr) *path {
	p := &path{rnd: rand.New(rand.NewPCG(1, 2))}
	x, y := a.tun(deviceA, addrA.String(), addrB.String()), b.tun(deviceB, addrB.String(), addrA.String())
	p.carry(a.t, x, y)
	p.carry(a.t, y, x)
	return p
}

func (p *path) set(f faults) {
	p.mu.Lock()
	p.faults = f
	p.mu.Unlock()
}

// parcel is a packet on its way.
type parcel struct {
	packet []byte
	at     time.Time
}

// carry carries packets from one end to the other until the ends are closed.
func (p *path) carry(t testing.TB, from, to *os.File) {
	queue := make(chan parcel, 1<<14)
	var done sync.WaitGroup
	done.Go(func() {
		for x := range queue {
			time.Sleep(time.Until(x.at)) // sleeps: the path has a delay
			_, _ = to.Write(x.packet)    // what comes too late for the test is lost
		}
	})
	done.Go(func() {
		defer close(queue)
		buf := make([]byte, 1<<16)
		for {
			n, err := from.Read(buf)
			if errors.Is(err, os.ErrClosed) || err != nil && !errors.Is(err, unix.EAGAIN) {
				return
			}
			packet := append([]byte(nil), buf[:n]...)
			p.mu.Lock()
			f := p.faults
			lost, late, twice := p.rnd.Float64() < f.loss, p.rnd.Float64() < f.reorder, p.rnd.Float64() < f.duplicate
			wait := time.Duration(p.rnd.IntN(int(20 * time.Millisecond)))
			p.mu.Unlock()
			switch {
			case n < 20 || packet[0]>>4 != 4 || f.cut || lost:
				continue
			case f.mtu > 0 && n > f.mtu:
				_, _ = from.Write(tooBig(packet, f.mtu))
				continue
			case late:
				time.AfterFunc(f.delay+wait, func() { _, _ = to.Write(packet) })
			default:
				queue <- parcel{packet, time.Now().Add(f.delay)}
			}
			if twice {
				time.AfterFunc(f.delay+wait, func() { _, _ = to.Write(packet) })
			}
		}
	})
	t.Cleanup(func() { // before the cleanup of the devices
		from.Close()
		to.Close()
		done.Wait()
	})
}

// tooBig returns what a router sends to the sender of a packet that is too big for its
// next link (RFC 1191 section 4).
func tooBig(packet []byte, mtu int) []byte {
	quoted := packet[:min(len(packet), 28)]
	out := make([]byte, 28, 28+len(quoted))
	out[0], out[8], out[9] = 0x45, 64, 1
	copy(out[12:16], packet[16:20]) // as if from whom it was for
	copy(out[16:20], packet[12:16])
	out[20], out[21] = 3, 4
	binary.BigEndian.PutUint16(out[26:], uint16(mtu))
	out = append(out, quoted...)
	binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
	binary.BigEndian.PutUint16(out[10:], checksum(out[:20]))
	binary.BigEndian.PutUint16(out[22:], checksum(out[20:]))
	return out
}

func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xFFFF {
		sum = sum>>16 + sum&0xFFFF
	}
	return ^uint16(sum)
}

// dial connects from the namespace, and from one of its addresses.
func (s *space) dial(network, from, to string) (c net.Conn, err error) {
	local := net.Addr(&net.UDPAddr{IP: net.ParseIP(from)})
	if network == "tcp" {
		local = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	d := net.Dialer{LocalAddr: local, Timeout: 5 * time.Second}
	s.do(func() { c, err = d.Dial(network, to) })
	return c, err
}
