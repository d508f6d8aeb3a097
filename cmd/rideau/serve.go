package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"rideau/cmd/rideau/internal/server"
	"rideau/cmd/rideau/internal/show"
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
	s := server.New(server.Options{
		Config: c.string("config"), Build: metrics.Build{Version: b.Version, Revision: b.Revision}, Log: c.stderr, Stdout: c.stdout,
		Workers: setProcs(), MemoryLimit: memoryLimiter(),
		Started: func(f server.Facts) { show.Started(c.stdout, b.Version, f) },
	})
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				s.Reload(ctx, "SIGHUP") // logs what becomes of it
			}
		}
	}()
	if err := s.Run(ctx); err != nil {
		return c.fail(err)
	}
	return exitOK
}
