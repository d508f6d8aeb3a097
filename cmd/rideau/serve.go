package main

import (
	"os"
	"os/signal"
	"syscall"

	"rideau/cmd/rideau/internal/server"
	"rideau/resolver/ops"
)

const serveHelp = `Answers queries until it gets SIGINT or SIGTERM. Banned names are answered by policy,
all else from the cache or an upstream.

Saving the configuration or a list takes effect within a second, as do SIGHUP and a
POST to /reload. What cannot be used is refused as a whole and logged, and what
serves goes on serving.`

// serve runs a server until a signal ends it. A second signal ends the process
// at once.
func serve(c *call) int {
	ctx, stop := signal.NotifyContext(c.ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		stop()
	}()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // before anything that takes time: by default it would end the process
	defer signal.Stop(hup)
	b := buildInfo()
	err := server.Run(ctx, server.Options{Config: c.string("config"), Build: ops.Build{Version: b.Version, Revision: b.Revision},
		Stdout: c.stdout, Stderr: c.stderr, Reload: hup})
	if err != nil {
		return c.fail(err)
	}
	return exitOK
}
