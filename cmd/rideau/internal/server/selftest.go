package server

import (
	"context"
	"net/netip"
	"time"

	"rideau/blocklists"
	"rideau/cmd/rideau/internal/selftest"
	"rideau/config/encrypted"
	"rideau/resolver"
	"rideau/resolver/ops"
)

// newTester makes what tests the bans of this server.
func (s *Server) newTester(key []byte) *selftest.Tester {
	return selftest.New(selftest.Options{
		Policy:    func() *blocklists.Snapshot { return s.resolver.State().Policy() },
		Serves:    func(a netip.Addr) bool { return s.resolver.State().Serves(a) },
		Endpoints: s.tested, Answer: s.answerInside,
		Key: key, Logger: s.log,
	})
}

// tested returns where clients without certificates are served.
func (s *Server) tested() []selftest.Endpoint {
	cfg, _ := s.current()
	var out []selftest.Endpoint
	for _, a := range s.sockets.Bound(cfg) {
		out = append(out, selftest.Endpoint{Transport: selftest.UDP, Addr: a}, selftest.Endpoint{Transport: selftest.TCP, Addr: a})
	}
	for _, b := range s.secured.Bound(cfg) {
		if b.ClientCertificates != encrypted.Required {
			out = append(out, selftest.Endpoint{Transport: selftest.Transport(b.Protocol), Addr: b.Addr, Path: b.Path})
		}
	}
	return out
}

// answerInside answers a query as if a client had sent it over a stream. It is
// neither counted nor recorded.
func (s *Server) answerInside(ctx context.Context, client netip.Addr, claims *blocklists.Claims, query []byte) []byte {
	q := resolver.Query{Msg: query, Client: client, Claims: claims, Transport: resolver.TCP, Received: time.Now()}
	out, o := s.resolver.Answer(nil, &q)
	if o.Kind == resolver.Pending {
		out, _ = s.resolver.Resolve(ctx, out, &q)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// testOften tests the bans at the start, when the policy has changed, and as often
// as ops.selftest says.
func (s *Server) testOften(ctx context.Context) {
	s.tester.Loop(ctx, func() time.Duration { cfg, _ := s.current(); return cfg.Ops.SelfTest })
}

// selfTest tests the bans now.
func (s *Server) selfTest(ctx context.Context) ops.SelfTest {
	r := s.tester.Run(ctx)
	return ops.SelfTest{OK: r.OK, Report: r, Lines: r.Lines()}
}

// failedTest returns what the last self-test found wrong.
func (s *Server) failedTest() []string {
	r := s.tester.Last()
	if r == nil || r.OK {
		return nil
	}
	var out []string
	for _, p := range r.Problems() {
		out = append(out, "the self-test failed: "+p)
	}
	return out
}

// lastTest returns when the last self-test began, and how many of its questions
// failed.
func (s *Server) lastTest() (time.Time, int) {
	r := s.tester.Last()
	if r == nil {
		return time.Time{}, 0
	}
	return r.At, len(r.Problems())
}
