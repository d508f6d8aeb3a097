package pipeline_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/upstream/pipeline"
	"rideau/resolver/wire"
)

const patience = 20 * time.Second

// server is a server over TCP that does with a connection what behave does.
type server struct {
	addr    string
	conns   atomic.Int64
	open    atomic.Int64
	most    atomic.Int64 // connections open at a time
	queries atomic.Int64
	mu      sync.Mutex
	order   []string // names as they came
	all     []net.Conn
}

// behave serves one connection, the n-th from 0 on.
type behave func(s *server, c net.Conn, n int)

func serve(t testing.TB, b behave) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: l.Addr().String()}
	t.Cleanup(func() { l.Close(); s.kill() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.all = append(s.all, c)
			s.mu.Unlock()
			n := int(s.conns.Add(1)) - 1
			go func() {
				s.most.Store(max(s.most.Load(), s.open.Add(1)))
				defer s.open.Add(-1)
				defer c.Close()
				b(s, c, n)
			}()
		}
	}()
	return s
}

// kill closes all connections.
func (s *server) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.all {
		c.Close()
	}
	s.all = nil
}

// read is the next query; nil at the end.
func (s *server) read(c io.Reader) []byte {
	var head [2]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil
	}
	q := make([]byte, binary.BigEndian.Uint16(head[:]))
	if _, err := io.ReadFull(c, q); err != nil {
		return nil
	}
	s.note(q)
	return q
}

func (s *server) note(q []byte) {
	s.queries.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order = append(s.order, name(q))
}

func (s *server) came() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.order...)
}

// several are the queries of one read.
func (s *server) several(c net.Conn) (all [][]byte) {
	b := make([]byte, 64<<10)
	n, err := c.Read(b)
	if err != nil {
		return nil
	}
	for b = b[:n]; len(b) > 2; {
		end := 2 + int(binary.BigEndian.Uint16(b))
		if end > len(b) {
			break
		}
		s.note(b[2:end])
		all = append(all, b[2:end])
		b = b[end:]
	}
	return all
}

func name(q []byte) string {
	n := int(q[12])
	return string(q[13 : 13+n])
}

// response answers a query with nothing.
func response(q []byte) []byte {
	r := append([]byte(nil), q...)
	r[2] |= 0x80
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(r))), r...)
}

func newPool(t testing.TB, s *server, edit ...func(*pipeline.Options)) (*pipeline.Pool, *atomic.Int64) {
	mismatches := new(atomic.Int64)
	o := pipeline.Options{
		Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", s.addr)
		},
		DialTimeout: 4 * time.Second,
		IdleTimeout: 10 * time.Second,
		Judge: func(sent, msg []byte) (acceptance.Result, []byte) {
			return acceptance.Accept(acceptance.Encrypted, nil, sent, msg)
		},
		Mismatched: func() { mismatches.Add(1) },
	}
	for _, f := range edit {
		f(&o)
	}
	p := pipeline.New(o)
	t.Cleanup(p.Close)
	return p, mismatches
}

// ask asks for a name, and returns what is wrong with what comes.
func ask(p *pipeline.Pool, text string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var n wire.Name
	if err := n.SetText(text + ".example"); err != nil {
		return err
	}
	m := wire.AppendQuery([]byte{0, 0}, 0, &n, wire.TypeA, wire.ClassIN, false, false, true, 1232)
	msg, result, err := p.Ask(ctx, m)
	switch {
	case err != nil:
		return err
	case result != acceptance.Answer || name(msg) != text:
		return fmt.Errorf("%d: %x for %s", result, msg, text)
	}
	return nil
}

// askAll asks n names at a time, and returns how many were answered.
func askAll(t testing.TB, p *pipeline.Pool, n int, limit time.Duration) (answered int) {
	t.Helper()
	var wg sync.WaitGroup
	var good atomic.Int64
	for i := range n {
		wg.Go(func() {
			if err := ask(p, fmt.Sprintf("n%d", i), limit); err == nil {
				good.Add(1)
			} else {
				t.Logf("n%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	return int(good.Load())
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

type acceptanceResult = acceptance.Result

func framedQuery(text string) []byte {
	var n wire.Name
	if err := n.SetText(text + ".example"); err != nil {
		panic(err)
	}
	return wire.AppendQuery([]byte{0, 0}, 0, &n, wire.TypeA, wire.ClassIN, false, false, true, 1232)
}
