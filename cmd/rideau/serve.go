package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"rideau/cmd/rideau/internal/held"
	"rideau/cmd/rideau/internal/procs"
	"rideau/cmd/rideau/internal/server"
	"rideau/cmd/rideau/internal/show"
	"rideau/cmd/rideau/internal/systemd"
	"rideau/resolver/ops/metrics"
)

const serveHelp = `Answers queries until it gets SIGINT or SIGTERM. Banned names are answered by policy,
all other names from the cache or an upstream.

A change of the configuration or a list takes effect within a second after it is saved;
SIGHUP and a POST to /reload have the same effect. A configuration or a list with errors
is refused as a whole and logged, and the old policy stays in force.`

// serve runs a server until a signal ends it. A second signal ends the process
// at once.
func serve(c *call) int {
	ctx, stop := signal.NotifyContext(c.ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // before anything that takes time: by default it would end the process
	defer signal.Stop(hup)
	b := buildInfo()
	manager, inherited := systemd.FromEnvironment()
	var keeper held.Keeper
	if manager != nil {
		keeper = manager
	}
	var s *server.Server
	s = server.New(server.Options{
		Config: c.string("config"), Build: metrics.Build{Version: b.Version, Revision: b.Revision}, Log: c.stderr, Stdout: c.stdout,
		Workers: procs.SetProcs(), MemoryLimit: procs.MemoryLimiter(),
		Inherited: inherited, Keeper: keeper,
		Started: func(f server.Facts) {
			show.Started(c.stdout, b.Version, f)
			manager.Ready(s.Status())
			go manager.ReportAlive(ctx, s.Works)
		},
	})
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				manager.Reloading()
				problem := ""
				if _, err := s.Reload(ctx, "SIGHUP"); err != nil { // which logs it
					problem = "; the reload of " + time.Now().Format(time.RFC3339) + " was refused, see the log"
				}
				manager.Ready(s.Status() + problem)
			}
		}
	}()
	context.AfterFunc(ctx, func() { manager.Stopping("answers the last queries") })
	if err := s.Run(ctx); err != nil {
		return c.fail(err)
	}
	return exitOK
}
