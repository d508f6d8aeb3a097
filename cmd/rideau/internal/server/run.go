package server

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	"rideau/cmd/rideau/internal/auditlog"
	"rideau/cmd/rideau/internal/flood"
	"rideau/cmd/rideau/internal/watch"
	"rideau/resolver/audit/act"
)

// Run starts the server and serves until ctx ends; then it drains, and returns
// nil. The error is that of a start that failed. Run is called once.
func (s *Server) Run(ctx context.Context) error {
	defer s.stop()
	if err := s.start(ctx); err != nil {
		return err
	}
	if s.o.Started != nil {
		s.o.Started(s.facts())
	}
	drain := s.serve()
	s.record(act.Act{Kind: act.Start, Actor: act.Actor{Way: act.ByItself}})
	s.follow(act.Actor{Way: act.ByItself})
	close(s.started)
	<-ctx.Done()
	s.stop() // no reload begins any more
	s.log.Info("stopping: pending queries are answered first")
	s.record(act.Act{Kind: act.Stop, Actor: act.Actor{Way: act.BySignal}})
	if s.web != nil {
		s.web.Drain() // not ready any more
	}
	background(s.saveCache) // while queries are still answered
	drain()
	s.queries.Use(nil, auditlog.Bounds{})
	s.log.Info("stopped")
	return nil
}

// serve runs the tasks and the operators' HTTP. The function that it returns drains
// the server: it returns when the pending queries are answered and recorded, and
// everything that serve runs has ended.
func (s *Server) serve() (drain func()) {
	var tasks sync.WaitGroup
	for _, t := range s.tasks() {
		tasks.Go(func() { s.supervise(s.ctx, t) })
	}
	// The queries that end while the sockets drain are recorded, too.
	recording, endRecording := context.WithCancel(context.WithoutCancel(s.ctx))
	for _, t := range s.recordingTasks() {
		tasks.Go(func() { s.supervise(recording, t) })
	}
	stopOps := s.serveOps()
	return func() {
		s.close()
		stopOps()
		endRecording()
		tasks.Wait()
	}
}

// task is work besides answering. run returns when its context ends.
type task struct {
	what string // for the log
	run  func(context.Context)
}

func (s *Server) tasks() []task {
	floods := flood.Watch{Gate: s.gate, Waits: s.waits, Sockets: s.sockets, Busy: s.sockets.Busy(), Clock: s.steady.At, Log: s.log}
	return []task{
		{"fetching lists", s.refresh},
		{"discovering NAT64 prefixes", func(ctx context.Context) {
			s.nat64.Run(ctx, s.asksTranslators, func() { s.reloadAndLog(ctx, act.ByItself, "NAT64 prefixes were discovered") })
		}},
		{"saving the cache", s.saveCacheOften},
		{"testing the bans", s.testOften},
		{"watching for floods", func(ctx context.Context) {
			floods.Run(ctx, func() bool { cfg, _ := s.current(); return cfg.Limits.Flood })
		}},
		{"watching for acts", s.watchActs},
		{"counting for pages", s.countForPages},
		{"watching certificates", s.watchCertificates},
		{"serving the block page", func(ctx context.Context) { s.page.Serve(ctx) }},
		{"watching files", func(ctx context.Context) {
			w := watch.Watcher{Interval: s.interval, Paths: s.watched, Seen: s.seen, Changed: func() { s.reloadAndLog(ctx, act.ByFile, "a file changed") }}
			w.Run(ctx)
		}},
	}
}

// recordingTasks are the tasks that go on while queries drain.
func (s *Server) recordingTasks() []task {
	return []task{
		{"recording queries", s.records.Run},
		{"logging events", s.events.Run},
		{"logging queries", s.queries.Run},
		{"delivering evidence", s.evidence.Run},
	}
}

// supervise runs a task until ctx ends. If the task panics, that is logged and
// counted, and the task starts again a second later: answering goes on.
func (s *Server) supervise(ctx context.Context, t task) {
	for ctx.Err() == nil {
		func() {
			defer func() {
				if p := recover(); p != nil {
					s.faults.Add(1)
					s.log.Error("a fault in the program; rideau goes on", "while", t.what, "panic", p, "stack", string(debug.Stack()))
				}
			}()
			t.run(ctx)
		}()
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// serveOps serves the operators' HTTP. It goes on while queries drain, until
// the function that serveOps returns is called.
func (s *Server) serveOps() (stop func()) {
	if s.web == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.web.Serve(ctx); err != nil {
			s.log.Error("ops HTTP ended", "error", err)
		}
	}()
	return func() { cancel(); <-done }
}

// close stops the changes of the policy by date, answers the pending queries, and
// closes the sockets and the upstreams.
func (s *Server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	var draining sync.WaitGroup
	draining.Go(s.secured.Close)
	s.sockets.Close()
	draining.Wait()
	_, ups := s.current()
	ups.Close()
	ups.Wait()
}
