package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"rideau/resolver/batch"
)

// flooder sends queries with forged source addresses, of a thousand networks.
type flooder struct {
	t    testing.TB
	fd   int
	to   netip.AddrPort
	sent atomic.Uint64
}

const (
	floodNetworks = 1000
	floodBatch    = 64
)

// newFlooder makes a flooder in its own namespace. It gets no answers.
func newFlooder(t testing.TB, l *lab) *flooder {
	t.Helper()
	s := newSpace(t, "flood")
	s.wire("f0", "10.2.0.2/24", l.middle, "m1", "10.2.0.1/24")
	s.ip("route", "add", "10.0.0.0/24", "via", "10.2.0.1")
	l.middle.ip("route", "add", "10.64.0.0/10", "via", "10.2.0.2")
	f := &flooder{t: t, fd: -1, to: netip.MustParseAddrPort(l.addr)}
	s.do(func() {
		var err error
		if f.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW); err != nil {
			t.Skipf("no raw sockets here: %v", err)
		}
	})
	t.Cleanup(func() { unix.Close(f.fd) })
	_ = unix.SetsockoptInt(f.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 8<<20)
	return f
}

// packet returns an IPv4 packet with a query; n chooses the source network. The kernel
// adds the checksums.
func (f *flooder) packet(n int, name string) []byte {
	f.t.Helper()
	m := new(dns.Msg).SetQuestion(name, dns.TypeA)
	m.SetEdns0(1232, false)
	q, err := m.Pack()
	if err != nil {
		f.t.Fatal(err)
	}
	p := make([]byte, 28, 28+len(q))
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_UDP
	copy(p[12:], []byte{10, byte(64 + n/256), byte(n), byte(1 + rand.IntN(250))})
	to := f.to.Addr().As4()
	copy(p[16:], to[:])
	binary.BigEndian.PutUint16(p[20:], uint16(1024+rand.IntN(60000)))
	binary.BigEndian.PutUint16(p[22:], f.to.Port())
	p = append(p, q...)
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	binary.BigEndian.PutUint16(p[24:], uint16(len(p)-20))
	return p
}

// run sends as fast as it can until stop: random names below one name if name is
// empty. It changes the letters of random names in place, which is faster than any
// server answers.
func (f *flooder) run(name string, stop <-chan struct{}) {
	random := name == ""
	if random {
		name = "aaaaaaaaaaaa.flooded.example."
	}
	var packets [][]byte
	for n := range floodNetworks {
		packets = append(packets, f.packet(n, name))
	}
	m, _, names := newMessages(floodBatch, 1)
	for i := range m {
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&names[i][0]))
		sa.Family, sa.Addr = unix.AF_INET, f.to.Addr().As4()
		m[i].Hdr.Namelen = unix.SizeofSockaddrInet4
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for at := 0; ; {
		select {
		case <-stop:
			return
		default:
		}
		for i := range m {
			p := packets[at%len(packets)]
			at++
			if random {
				bits := rnd.Uint64()
				for k := range 12 {
					p[28+12+1+k] = 'a' + byte(bits>>(5*k)&31)%26
				}
			}
			binary.BigEndian.PutUint16(p[28:], uint16(at))
			m[i].Hdr.Iov.Base = &p[0]
			m[i].Hdr.Iov.SetLen(len(p))
		}
		batch.SendAll(f.fd, m, nil)
		f.sent.Add(floodBatch)
	}
}

// resident returns the resident memory of a process, in octets.
func resident(t testing.TB, pid int) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("%s", text)
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return n * 1024
}

// datagrams counts the datagrams that a process's namespace has received, that a
// socket's filter dropped, that were lost because nothing read them in time, and that
// were sent.
func datagrams(t testing.TB, pid int) (n [4]float64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/snmp", pid))
	if err != nil {
		t.Fatal(err)
	}
	// InDatagrams, NoPorts, InErrors, OutDatagrams, RcvbufErrors
	m := regexp.MustCompile(`(?m)^Udp: (\d+) \d+ (\d+) (\d+) (\d+)`).FindStringSubmatch(string(text))
	if m == nil {
		t.Fatalf("%s", text)
	}
	var field [4]float64
	for i := range field {
		if field[i], err = strconv.ParseFloat(m[1+i], 64); err != nil {
			t.Fatal(err)
		}
	}
	return [4]float64{field[0], field[1] - field[3], field[3], field[2]}
}

// TestFlood: a thousand forged networks send several times more queries than can be
// answered. Honest clients are still answered, and memory is bounded. Rideau has one
// processor, the flood the other.
func TestFlood(t *testing.T) {
	notHere(t)
	if runtime.NumCPU() < 2 {
		t.Skip("one processor: the flood would have it")
	}
	l := newLab(t, labOptions{wired: true, more: "cache: {max_bytes: 32MiB}\n"})
	onProcessor(t, 0, l.serve)
	f := newFlooder(t, l)
	first := newLabClient(t, l.clients, labSource(0), l.addr)
	for i := range 50 {
		if _, why := first.ask(fmt.Sprintf("cached%d.lab.example.", i), dns.TypeA); why != "" {
			t.Fatalf("without any flood: %s", why)
		}
	}
	table := rows()
	table[0] += " flood q/s | read /s   | kept out  | lost /s   | sent /s   | memory MiB |"
	table[1] += "---:|---:|---:|---:|---:|---:|"
	pid := l.proc.cmd.Process.Pid
	least := resident(t, pid)
	most := least
	for i, p := range []struct {
		name  string
		flood bool
		what  string
		want  float64 // of cached names, in percent; new ones are as upstream can
	}{
		{"no flood", false, "", 99.9},
		{"flood for a name in the cache", true, "cached1.lab.example.", 0},
		{"after it", false, "", 99.9},
		{"flood for random names", true, "", 0},
		{"after it", false, "", 99.9},
	} {
		stop := make(chan struct{})
		var all sync.WaitGroup
		before, from := f.sent.Load(), time.Now()
		if p.flood {
			all.Go(func() { onProcessor(t, 1, func() { f.run(p.what, stop) }) })
			time.Sleep(500 * time.Millisecond) // sleeps: the flood is on for a while before the clients ask
		}
		was := datagrams(t, pid)
		began, peak := time.Now(), 0.0
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Millisecond):
					peak = max(peak, resident(t, pid))
				}
			}
		})
		cached, fresh := l.phase(100+i, 400, 5*time.Second, false, nil)
		rate := float64(f.sent.Load()-before) / time.Since(from).Seconds()
		figures := fmt.Sprintf(" %9.0f |", rate)
		for k, n := range datagrams(t, pid) {
			figures += fmt.Sprintf(" %9.0f |", (n-was[k])/time.Since(began).Seconds())
		}
		figures += fmt.Sprintf(" %10.1f |", peak/(1<<20))
		close(stop)
		all.Wait()
		if p.flood {
			time.Sleep(3 * time.Second) // sleeps: a flood counts as over after quiet seconds
		}
		most = max(most, peak)
		for _, kind := range []struct {
			name string
			of   *tally
		}{{"cached", cached}, {"new", fresh}} {
			table = append(table, kind.of.row(p.name, kind.name)+figures)
		}
		if cached.share() < p.want {
			t.Errorf("%s: %.2f %% of the cached names were answered: %v", p.name, cached.share(), cached.failed)
		}
		if !p.flood && fresh.share() < 99.5 {
			t.Errorf("%s: %.2f %% of the new names were answered: %v", p.name, fresh.share(), fresh.failed)
		}
		if p.flood && rate < 1000 {
			t.Errorf("%s: it was no flood: %.0f queries a second", p.name, rate)
		}
	}
	publish(t, "A flood from 1,000 networks", table)
	if most > least+192<<20 {
		t.Errorf("%.1f MiB of memory at first, and at most %.1f", least/(1<<20), most/(1<<20))
	}
}
