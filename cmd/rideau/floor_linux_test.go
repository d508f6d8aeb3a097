package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rideau/resolver/batch"
	"rideau/resolver/wire"
)

// reflect is the least that a server over UDP can do: it sends back what it receives,
// in batches. Descriptor 3 is a bound socket.
func reflect() {
	const n = 64
	m, _, names := newMessages(n, 512)
	for {
		unix.Poll([]unix.PollFd{{Fd: 3, Events: unix.POLLIN}}, -1)
		for {
			k, errno := batch.Receive(3, m)
			if errno != 0 {
				break
			}
			for i := range k {
				m[i].Hdr.Iov.SetLen(int(m[i].N))
			}
			batch.SendAll(3, m[:k], nil)
			for i := range k {
				m[i].Hdr.Iov.SetLen(512)
				m[i].Hdr.Namelen = uint32(len(names[i]))
			}
			if k < n {
				break
			}
		}
	}
}

// newMessages returns n messages with space for size octets each, and for names.
func newMessages(n, size int) (m []batch.Message, bufs [][]byte, names [][]byte) {
	m, bufs, names = make([]batch.Message, n), make([][]byte, n), make([][]byte, n)
	iovs := make([]unix.Iovec, n)
	for i := range m {
		bufs[i], names[i] = make([]byte, size), make([]byte, unix.SizeofSockaddrInet6)
		iovs[i].Base = &bufs[i][0]
		iovs[i].SetLen(size)
		m[i].Hdr.Iov, m[i].Hdr.Name, m[i].Hdr.Namelen = &iovs[i], &names[i][0], unix.SizeofSockaddrInet6
		m[i].Hdr.SetIovlen(1)
	}
	return m, bufs, names
}

// TestFloor compares what Rideau needs for an answer by policy and for one from the
// cache with a process that only receives and sends: at most one and a half times its
// processor time, none lost, none wrong. It takes two processors, one for the server
// alone.
func TestFloor(t *testing.T) {
	switch {
	case os.Getenv("RIDEAU_CI") != "1":
		t.Skip("a comparison for quiet machines; RIDEAU_CI=1 makes it")
	case raceDetector:
		t.Skip("the race detector costs more than what is measured")
	case runtime.NumCPU() < 2:
		t.Skip("one processor: server and client would share it")
	}
	const banned, cached = 50_000, 2000
	w := newWorld(t)
	var list strings.Builder
	for i := range banned {
		fmt.Fprintf(&list, "name-%d.example.com\n", i)
	}
	w.write("list.txt", list.String())
	if err := w.upstream.Load("* A\n    answer any.example. 300 IN A 192.0.2.1\n"); err != nil {
		t.Fatal(err)
	}
	w.config(func(s *settings) {
		s.level = "error"
		s.more = "groups: [{id: a, clients: [10.1.0.0/16]}, {id: b, clients: [10.2.0.0/16]}, {id: c, clients: [10.3.0.0/16]}]"
	})
	addr := netip.MustParseAddrPort("127.0.0.1:0")
	fd, floor := listen(t, addr)
	var p *process
	onProcessor(t, 0, func() {
		cmd := rideau(context.Background(), w.dir)
		cmd.Args[0] = "reflector"
		cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(fd), "socket")}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		floor.pid = cmd.Process.Pid
		p = start(t, w.dir)
	})
	server := target{pid: p.cmd.Process.Pid, addr: netip.MustParseAddrPort(p.dns[0])}

	names := func(n int, form string) (queries [][]byte) {
		rng := rand.New(rand.NewPCG(1, 2))
		for range 4096 {
			var name wire.Name
			if err := name.SetText(fmt.Sprintf(form, rng.IntN(n))); err != nil {
				t.Fatal(err)
			}
			queries = append(queries, wire.AppendQuery(nil, 0, &name, wire.TypeA, wire.ClassIN, false, false, true, 1232))
		}
		return queries
	}
	for _, load := range []struct {
		what    string
		queries [][]byte
		rcode   wire.Rcode
		answers int
	}{
		{"blocked", names(banned, "www.name-%d.example.com"), wire.NXDomain, 0},
		{"cached", names(cached, "n%d.cached.example"), wire.NoError, 1},
	} {
		check := func(m []byte) bool {
			return wire.HeaderRcode(m) == load.rcode && wire.Count(m, wire.Answer) == load.answers
		}
		any := func([]byte) bool { return true }
		onProcessor(t, 1, func() {
			flood(t, server, load.queries, 500*time.Millisecond, check) // what is to be cached is
			// Other work of the machine adds to a figure: the smallest of each is
			// nearest to the true one, and three are not always enough.
			ours, least := math.Inf(1), math.Inf(1)
			for round := 0; round < 3 || round < 12 && ours > 1.5*least; round++ {
				ours = min(ours, flood(t, server, load.queries, time.Second, check))
				least = min(least, flood(t, floor, load.queries, time.Second, any))
			}
			t.Logf("%s: %.2f us, %.2f times the floor", load.what, 1e6*ours, ours/least)
			if ours > 1.5*least {
				t.Errorf("%s: %.2f times the floor, want 1.5 at most", load.what, ours/least)
			}
		})
	}
}

// onProcessor runs f, and processes that it starts, on one processor.
func onProcessor(t *testing.T, n int, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var old, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		t.Fatal(err)
	}
	for i := range 1024 {
		if old.IsSet(i) {
			if n == 0 {
				one.Set(i)
				break
			}
			n--
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &old)
	f()
}

// target is a server whose processor time is measured.
type target struct {
	pid  int
	addr netip.AddrPort
}

// listen binds a socket.
func listen(t *testing.T, addr netip.AddrPort) (fd int, at target) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())})
	}
	if err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, target{addr: netip.AddrPortFrom(addr.Addr(), uint16(name.(*unix.SockaddrInet4).Port))}
}

// seconds returns the processor time that a process has used.
func (s target) seconds(t *testing.T) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	user, err1 := strconv.ParseFloat(f[11], 64)
	system, err2 := strconv.ParseFloat(f[12], 64)
	if err1 != nil || err2 != nil {
		t.Fatalf("%s", text)
	}
	return (user + system) / 100 // the unit is 10 ms everywhere
}

// flood keeps queries outstanding for a time, and returns the server's processor
// seconds for each answer. Each query must be answered, and pass check.
func flood(t *testing.T, s target, queries [][]byte, d time.Duration, check func([]byte) bool) float64 {
	t.Helper()
	const sockets, window = 8, 16
	poller, err := batch.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer poller.Close()
	type client struct {
		fd       int
		in, out  []batch.Message
		received [][]byte
		sent     []int // by id: which query, or -1
		next     uint16
	}
	var clients [sockets]client
	at := 0
	for i := range clients {
		c := &clients[i]
		if c.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(c.fd)
		if err := unix.Connect(c.fd, &unix.SockaddrInet4{Addr: s.addr.Addr().As4(), Port: int(s.addr.Port())}); err != nil {
			t.Fatal(err)
		}
		if err := poller.Add(c.fd, uint32(i)); err != nil {
			t.Fatal(err)
		}
		c.in, c.received, _ = newMessages(window, 512)
		c.out, _, _ = newMessages(window, 512)
		for j := range window {
			c.in[j].Hdr.Name, c.in[j].Hdr.Namelen = nil, 0
			c.out[j].Hdr.Name, c.out[j].Hdr.Namelen = nil, 0
		}
		c.sent = make([]int, 1<<16)
	}
	buffers := make([][512]byte, sockets*window)
	send := func(i, n int) {
		c := &clients[i]
		for j := range n {
			b := &buffers[i*window+j]
			q := at % len(queries)
			at++
			k := copy(b[:], queries[q])
			binary.BigEndian.PutUint16(b[:], c.next)
			c.sent[c.next] = q + 1
			c.next++
			c.out[j].Hdr.Iov.Base = &b[0]
			c.out[j].Hdr.Iov.SetLen(k)
		}
		batch.SendAll(c.fd, c.out[:n], nil)
	}
	before := s.seconds(t)
	end := time.Now().Add(d)
	answered, under := 0, 0
	for i := range clients {
		send(i, window)
		under += window
	}
	for last := time.Now(); under > 0; {
		found := poller.Wait(time.Second)
		if found > 0 {
			last = time.Now()
		} else if time.Since(last) > 3*time.Second {
			t.Fatalf("%d queries were lost", under)
		}
		for k := range found {
			i := int(poller.Tag(k))
			c := &clients[i]
			n, errno := batch.Receive(c.fd, c.in)
			if errno != 0 {
				continue
			}
			for j := range n {
				m := c.received[j][:c.in[j].N]
				id := wire.ID(m)
				if q := c.sent[id] - 1; q < 0 || string(m[12:len(queries[q])-wire.OPTLen]) != string(queries[q][12:len(queries[q])-wire.OPTLen]) || !check(m) {
					t.Fatalf("a wrong answer: %x", m)
				}
				c.sent[id] = 0
			}
			answered += n
			under -= n
			if time.Now().Before(end) {
				send(i, n)
				under += n
			}
		}
	}
	return (s.seconds(t) - before) / float64(answered)
}
