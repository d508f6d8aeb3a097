package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"rideau/blocklists"
	"rideau/blocklists/enforced"
	"rideau/cmd/rideau/internal/server"
	"rideau/cmd/rideau/internal/setup"
	"rideau/cmd/rideau/internal/text"
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
		Started: func(f server.Facts) { banner(c.stdout, b.Version, f) },
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

// banner prints in a few lines what is served.
func banner(w io.Writer, version string, f server.Facts) {
	var addrs []string
	for _, a := range f.Addrs {
		addrs = append(addrs, a.String())
	}
	fmt.Fprintf(w, "rideau %s serves DNS on %s (UDP and TCP)\n", version, strings.Join(addrs, ", "))
	if f.Ops != "" {
		fmt.Fprintf(w, "  ops HTTP   http://%s\n", f.Ops)
	}
	if f.Clock.Distrusted != "" {
		fmt.Fprintf(w, "  clock      distrusted: %s\n", f.Clock.Distrusted)
	}
	for _, b := range f.Policy.Bans() {
		state := b.Ban.Stages()
		switch {
		case state == blocklists.Off.String():
		case !b.Active && f.Clock.Now().Before(b.Ban.Effective):
			state += ", from " + text.Date(b.Ban.Effective)
		case !b.Active:
			state += ", expired " + text.Date(b.Ban.Expires)
		default:
			state += ", " + b.Ban.Action.String()
		}
		fmt.Fprintf(w, "  ban        %s: %d names, %s\n", b.Ban.ID, b.Names, state)
	}
	if !enforced.Any(f.Policy) {
		fmt.Fprintf(w, "  ban        %s\n", enforced.None)
	}
	ups := "none"
	if len(f.Upstreams) > 0 {
		ups = setup.ServerList(f.Upstreams)
	}
	fmt.Fprintf(w, "  upstreams  %s\n", ups)
	for _, z := range f.Forward {
		fmt.Fprintf(w, "  forward    %s to %s\n", strings.Join(z.Zones, ", "), setup.ServerList(z.Servers))
	}
	host := f.Addrs[0].Addr()
	if host.IsUnspecified() {
		host = netip.MustParseAddr("127.0.0.1")
	}
	fmt.Fprintf(w, "  try        dig @%s -p %d web.wechat.com\n", host, f.Addrs[0].Port())
}
