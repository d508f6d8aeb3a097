package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"rideau/cmd/rideau/internal/reach"
	"rideau/cmd/rideau/internal/setup"
)

const healthcheckHelp = `Asks a running rideau on this machine whether it is ready: its policy is loaded, its
sockets are bound, and an upstream has answered lately. Use it as a container's health
check.

Exit code 0: ready. 1: not ready, or no answer; the reason is printed.`

const defaultHealthTimeout = 3 * time.Second

func healthcheck(c *call) int {
	base, client, code := opsURL(c)
	if base == "" {
		return code
	}
	path := "/readyz"
	if c.bool("live") {
		path = "/healthz"
	}
	timeout, _ := c.GetDuration("timeout")
	ctx, cancel := context.WithTimeout(c.ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return c.fail(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return c.fail(fmt.Errorf("not healthy: %w", err))
	}
	defer resp.Body.Close()
	var reasons []string
	for s := bufio.NewScanner(http.MaxBytesReader(nil, resp.Body, 64<<10)); s.Scan(); {
		reasons = append(reasons, s.Text())
	}
	if resp.StatusCode != http.StatusOK {
		return c.fail(fmt.Errorf("not healthy (%d): %s", resp.StatusCode, strings.Join(reasons, "; ")))
	}
	fmt.Fprintln(c.stdout, strings.Join(reasons, "\n"))
	return exitOK
}

// opsURL returns the address of the running rideau's HTTP, from the option or the
// configuration, and a client for it: the Unix socket if there is one. If there is no
// address, base is empty, and code is the exit code.
func opsURL(c *call) (base string, client *http.Client, code int) {
	base = strings.TrimSuffix(c.string("url"), "/")
	if base == "" {
		listen, socket, wrong := reach.Address(c.string("config"))
		switch {
		case wrong != nil && listen == "":
			return "", nil, c.fail(wrong)
		case wrong != nil:
			fmt.Fprintf(c.stderr, "rideau %s: the configuration has an error, and is used for ops.listen alone: %v\n", c.Name(), wrong)
		}
		if socket != "" {
			return reach.SocketURL, reach.Through(socket), exitOK
		}
		if listen == "" {
			return "", nil, c.fail(errors.New("ops.listen is empty, so there is no address to ask; set it, or give --url"))
		}
		base = (&url.URL{Scheme: "http", Host: reach.Host(listen)}).String() // a zone is written as %25eth0
	}
	if u, err := url.Parse(base); err != nil || u.Scheme != "http" || u.Host == "" {
		fmt.Fprintf(c.stderr, "rideau %s: --url %q must look like http://127.0.0.1:5380\n", c.Name(), base)
		return "", nil, exitUsage
	}
	return base, reach.Directly(), exitOK
}

// opsToken returns the token to send to an address that opsURL returned; empty if none
// is needed, or if the configuration cannot be read.
func opsToken(c *call, base string) (string, error) {
	cfg, err := setup.Load(c.string("config"))
	if err != nil || base == reach.SocketURL {
		return "", nil
	}
	return setup.Token(cfg)
}
