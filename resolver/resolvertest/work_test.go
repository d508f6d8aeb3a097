package resolvertest

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver"
	"rideau/resolver/upstream"
	"rideau/resolver/wire"
)

// workName is the question of all messages of TestWork.
const workName = "www.example.org."

// message builds a response to workName, record by record.
type message struct {
	octets []byte
	size   int // it is full when it has so many octets
}

func newMessage(qtype uint16, size int) *message {
	m := new(dns.Msg).SetQuestion(workName, qtype)
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	wire.SetFlags(b, wire.FlagQR|wire.FlagRA)
	return &message{b, size}
}

// full reports whether n octets more would be too many.
func (m *message) full(n int) bool { return len(m.octets)+n > m.size }

// add appends a record and returns the offset of its RDATA. owner is a name in
// wire form, perhaps with a pointer.
func (m *message) add(s wire.Section, owner string, t uint16, data string) int {
	m.octets = append(m.octets, owner...)
	m.octets = binary.BigEndian.AppendUint16(m.octets, t)
	m.octets = append(m.octets, 0, 1, 0, 0, 1, 0)
	m.octets = binary.BigEndian.AppendUint16(m.octets, uint16(len(data)))
	m.octets = append(m.octets, data...)
	wire.AddCount(m.octets, 0, s, 1)
	return len(m.octets) - len(data)
}

// fill calls add with 0, 1, 2, ... until no record of n octets fits.
func (m *message) fill(n int, add func(i int)) {
	for i := 0; !m.full(n); i++ {
		add(i)
	}
}

// pointer is a compression pointer.
func pointer(off int) string { return string([]byte{0xC0 | byte(off>>8), byte(off)}) }

const asked = "\xc0\x0c" // a pointer to the question's name

// deep is a name of n labels below the question's.
func deep(n int) string { return strings.Repeat("\x01a", n) + asked }

// workShapes are responses whose records make a reader do as much as they can,
// of about so many octets.
func workShapes() map[string]func(size int) *message {
	return map[string]func(size int) *message{
		"additional records below a deep name": func(size int) *message {
			m := newMessage(dns.TypeMX, size)
			off := m.add(wire.Answer, asked, dns.TypeMX, "\x00\x01"+deep(110)) + 2
			m.fill(64*18+32, func(int) { m.add(wire.Answer, asked, dns.TypeMX, "\x00\x01"+pointer(off+2)) })
			m.add(wire.Answer, asked, dns.TypeMX, "\x00\x01\x01y"+pointer(off))
			for range 64 { // each belongs by the last answer
				m.add(wire.Additional, "\x01y"+pointer(off), dns.TypeA, "\x01\x02\x03\x04")
			}
			return m
		},
		"additional records that belong": func(size int) *message {
			m := newMessage(dns.TypeSRV, size)
			m.fill(64*16+12+26, func(i int) {
				m.add(wire.Answer, asked, dns.TypeSRV, "\x00\x01\x00\x01\x00\x01"+fmt.Sprintf("\x06h%05d", i)+asked)
			})
			for i := range 40 {
				m.add(wire.Additional, fmt.Sprintf("\x06h%05d", i)+asked, dns.TypeA, "\x01\x02\x03\x04")
			}
			return m
		},
		"names of many pointers": func(size int) *message {
			m := newMessage(dns.TypeNS, size)
			last, n := wire.HeaderLen, 0
			m.fill(18, func(int) {
				off := m.add(wire.Answer, asked, dns.TypeNS, "\x01a"+pointer(last))
				if n++; n < 110 && off < 1<<14 {
					last = off
				}
			})
			return m
		},
		"a chain of aliases in reverse": func(size int) *message {
			m := newMessage(dns.TypeA, size)
			m.fill(40, func(i int) {
				m.add(wire.Answer, fmt.Sprintf("\x06n%05d", 30-i%31)+asked, dns.TypeCNAME, fmt.Sprintf("\x06n%05d", 31-i%31)+asked)
			})
			m.add(wire.Answer, asked, dns.TypeCNAME, "\x06n00000"+asked)
			return m
		},
		"aliases at the end of a chain": func(size int) *message {
			m := newMessage(dns.TypeA, size)
			off := m.add(wire.Answer, asked, dns.TypeCNAME, deep(100))
			for i := range 30 {
				m.add(wire.Answer, pointer(off+2*i), dns.TypeCNAME, pointer(off+2*i+2))
			}
			m.fill(14, func(i int) { m.add(wire.Answer, pointer(off+60), dns.TypeCNAME, pointer(off+62)) })
			return m
		},
		"DNAME records": func(size int) *message {
			m := newMessage(dns.TypeA, size)
			m.fill(40, func(i int) { m.add(wire.Answer, "\xc0\x10", dns.TypeDNAME, fmt.Sprintf("\x06n%05d", i)+asked) })
			return m
		},
		"name servers of a chain": func(size int) *message {
			m := newMessage(dns.TypeA, size)
			off := m.add(wire.Answer, asked, dns.TypeCNAME, deep(110))
			for i := range 30 {
				m.add(wire.Answer, pointer(off+2*i), dns.TypeCNAME, pointer(off+2*i+2))
			}
			servers := []int{}
			m.fill(64*16+30, func(i int) {
				at := m.add(wire.Authority, "\x00", dns.TypeNS, fmt.Sprintf("\x04s%03d", i%1000)+pointer(off+62))
				if i < 64 {
					servers = append(servers, at)
				}
			})
			for _, at := range servers {
				m.add(wire.Additional, pointer(at), dns.TypeA, "\x01\x02\x03\x04")
			}
			return m
		},
		"records in turn of many owners": func(size int) *message {
			m := newMessage(dns.TypeA, size)
			off := m.add(wire.Answer, asked, dns.TypeCNAME, deep(110))
			for i := range 15 {
				m.add(wire.Answer, pointer(off+2*i), dns.TypeCNAME, pointer(off+2*i+2))
			}
			m.fill(16, func(i int) { m.add(wire.Authority, pointer(off+2*(i%110)), dns.TypeNS, "\xc0\x10") })
			return m
		},
		"hints": func(size int) *message {
			m := newMessage(dns.TypeHTTPS, size)
			m.fill(60, func(i int) {
				m.add(wire.Answer, asked, dns.TypeHTTPS, "\x00\x01\x00"+"\x00\x04\x00\x20"+strings.Repeat(string([]byte{1, byte(i >> 8), byte(i), 1}), 8))
			})
			return m
		},
		"parameters": func(size int) *message {
			m := newMessage(dns.TypeHTTPS, size)
			n := (size - len(m.octets) - 20) / 4
			params := []byte{}
			for i := range n {
				params = append(params, byte((i+10)>>8), byte(i+10), 0, 0)
			}
			m.add(wire.Answer, asked, dns.TypeHTTPS, "\x00\x01\x00"+string(params))
			return m
		},
		"empty strings": func(size int) *message {
			m := newMessage(dns.TypeTXT, size)
			m.add(wire.Answer, asked, dns.TypeTXT, strings.Repeat("\x00", size-len(m.octets)-12))
			return m
		},
		"addresses": func(size int) *message {
			m := newMessage(dns.TypeA, size)
			m.fill(16, func(i int) { m.add(wire.Answer, asked, dns.TypeA, string([]byte{1, byte(i >> 8), byte(i), 1})) })
			return m
		},
		"a long chain among other aliases": func(size int) *message {
			m := newMessage(dns.TypeA, size)
			m.fill(127*28+21+28, func(i int) {
				m.add(wire.Answer, fmt.Sprintf("\x06x%05d", i)+asked, dns.TypeCNAME, fmt.Sprintf("\x06y%05d", i)+asked)
			})
			owner := asked
			for i := range 128 {
				target := fmt.Sprintf("\x06n%05d", i) + asked
				m.add(wire.Answer, owner, dns.TypeCNAME, target)
				owner = target
			}
			return m
		},
		"DNAME records of a chain": func(size int) *message {
			m := newMessage(dns.TypeA, size)
			for range 15 {
				m.add(wire.Answer, "\x00", dns.TypeDNAME, "\x01a\x00")
			}
			m.add(wire.Answer, "\x00", dns.TypeDNAME, "\x01b\x00")
			m.fill(16, func(i int) { m.add(wire.Answer, asked, dns.TypeA, string([]byte{1, byte(i >> 8), byte(i), 1})) })
			return m
		},
		"records that come many times": func(size int) *message {
			m := newMessage(dns.TypeMX, size)
			off := m.add(wire.Answer, asked, dns.TypeMX, "\x00\x01"+deep(110)) + 2
			m.fill(16, func(i int) { m.add(wire.Answer, asked, dns.TypeMX, "\x00"+string(byte(i%2))+pointer(off)) })
			return m
		},
		"records of one hash but for their owners": func(size int) *message {
			m := newMessage(dns.TypeA, size)
			off := m.add(wire.Answer, asked, dns.TypeCNAME, deep(110))
			m.fill(16, func(i int) { m.add(wire.Authority, pointer(off+2*(i%110)), dns.TypeA, "\x01\x02\x03\x04") })
			return m
		},
		"SOA records of many names": func(size int) *message {
			m := newMessage(dns.TypeA, size)
			off := m.add(wire.Answer, asked, dns.TypeCNAME, deep(110))
			m.fill(36, func(i int) {
				m.add(wire.Authority, "\x01b"+pointer(off+2*(i%100)), dns.TypeSOA, "\x00\x00"+strings.Repeat("\x00\x00\x00\x01", 5))
			})
			return m
		},
		"foreign records": func(size int) *message {
			m := newMessage(dns.TypeA, size)
			off := m.add(wire.Answer, asked, dns.TypeCNAME, deep(115)) // names that differ in their last label
			other := m.add(wire.Answer, asked, dns.TypeCNAME, strings.Repeat("\x01a", 115)+"\x03ww2\xc0\x10")
			m.add(wire.Answer, pointer(off), dns.TypeCNAME, pointer(off+2))
			m.fill(16, func(i int) { m.add(wire.Answer, pointer(other+2*(i%100)), dns.TypeA, "\x01\x02\x03\x04") })
			return m
		},
	}
}

// fixedReply is an upstream that answers each question with the same message.
type fixedReply struct {
	canned
	msg []byte
}

// Exchange implements upstream.Upstream.
func (f *fixedReply) Exchange(_ context.Context, dst, query []byte) ([]byte, error) {
	msg := append(dst, f.msg...)
	end := wire.HeaderLen + len(workName) + 1 + 4
	copy(msg[wire.HeaderLen:end], query[wire.HeaderLen:end])
	return msg, nil
}

func (f *fixedReply) Resume(ctx context.Context, dst, query []byte, _ *upstream.Started) ([]byte, error) {
	return f.Exchange(ctx, dst, query)
}

// TestWorkload is no test by itself: TestWork runs it with the statements
// counted, once for each shape and size. It answers a query that is forwarded,
// and then, from the cache, the same by TCP and by UDP.
func TestWorkload(t *testing.T) {
	shape, size, ok := strings.Cut(os.Getenv("RIDEAU_WORKLOAD"), "/")
	if !ok {
		t.Skip("TestWork runs it")
	}
	n, err := strconv.Atoi(size)
	if err != nil {
		t.Fatal(err)
	}
	m := workShapes()[shape](n)
	if len(m.octets) < n-150 || len(m.octets) > n+30 {
		t.Fatalf("%s: %d octets, not %d", shape, len(m.octets), n)
	}
	var scratch wire.Name
	var r wire.Response
	if err := r.Parse(slices.Clone(m.octets), &scratch); err != nil {
		t.Fatalf("%s: %v", shape, err)
	}
	run := newRun(t, "work", []byte(zoneScenario()))
	st, err := resolver.NewState(resolver.StateOptions{Policy: run.snapshot, Clients: run.policy.clients, UDPSize: run.policy.udpSize, Upstream: &fixedReply{msg: m.octets}})
	if err != nil {
		t.Fatal(err)
	}
	run.resolver.SetState(st)
	q := new(dns.Msg).SetQuestion(workName, binary.BigEndian.Uint16(m.octets[wire.HeaderLen+len(workName)+1:]))
	q.SetEdns0(1232, false)
	sent, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, transport := range []resolver.Transport{resolver.TCP, resolver.TCP, resolver.UDP} {
		query := &resolver.Query{Msg: slices.Clone(sent), Client: netip.MustParseAddr("10.1.0.1"), Transport: transport, Received: epoch}
		out, o := run.resolver.Answer(nil, query)
		if o.Kind == resolver.Pending {
			out, o = run.resolver.Resolve(context.Background(), nil, query)
		}
		if len(out) == 0 {
			t.Errorf("no answer: %v", o.Kind)
		}
	}
}

// The work for a response is linear in its octets: twice the octets take about
// twice the steps, whatever the records are, from the message to the answers to
// clients. A step is one statement that is executed, as the compiler counts
// them for the coverage of tests.
func TestWork(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a program")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "work.test")
	build := exec.Command("go", "test", "-c", "-o", binary, "-covermode=count", "-coverpkg=rideau/resolver/...,rideau/blocklists/...", ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	steps := func(shape string, size int) int {
		profile := filepath.Join(dir, "profile")
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		run := exec.CommandContext(ctx, binary, "-test.run=^TestWorkload$", "-test.coverprofile="+profile)
		run.Env = append(os.Environ(), fmt.Sprintf("RIDEAU_WORKLOAD=%s/%d", shape, size))
		if out, err := run.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", shape, err, out)
		}
		return sumProfile(t, profile)
	}
	const once, twice = 30_000, 60_000
	nothing := steps("addresses", 300)
	for shape := range workShapes() {
		n, m := steps(shape, once)-nothing, steps(shape, twice)-nothing
		t.Logf("%s: %d steps for %d octets, %d for twice as many: %d for each octet", shape, n, once, m, m/twice)
		if float64(m) > 2.5*float64(n) {
			t.Errorf("%s: twice the octets take %.1f times the steps", shape, float64(m)/float64(n))
		}
		if max(n/once, m/twice) > maxSteps {
			t.Errorf("%s: %d steps for each octet of %d, %d of %d; %d at the most", shape, n/once, once, m/twice, twice, maxSteps)
		}
	}
}

// maxSteps is how many statements one octet of a response may cost: one record
// of 14 octets can have two names of 127 labels, which several readers visit.
const maxSteps = 4000

// sumProfile returns the number of statements that a profile counts.
func sumProfile(t *testing.T, path string) (sum int) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		words := strings.Fields(in.Text())
		if len(words) != 3 {
			continue
		}
		statements, err := strconv.Atoi(words[1])
		if err != nil {
			t.Fatal(err)
		}
		times, err := strconv.Atoi(words[2])
		if err != nil {
			t.Fatal(err)
		}
		sum += statements * times
	}
	if sum == 0 {
		t.Fatal("no statement was counted")
	}
	return sum
}
