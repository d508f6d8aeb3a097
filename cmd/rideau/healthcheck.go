package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
)

const healthcheckHelp = `Asks a running rideau on this machine whether it is ready: its policy is loaded, its
sockets are bound, and an upstream has answered lately. Use it as a container's health
check.

Exit code 0: ready. 1: not ready, or no answer; the reason is printed.`

const defaultHealthTimeout = 3 * time.Second

func healthcheck(c *call) int {
	base, code := opsURL(c)
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
	resp, err := directly().Do(req)
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
// configuration. If there is none, base is empty, and code is the exit code.
func opsURL(c *call) (base string, code int) {
	base = strings.TrimSuffix(c.string("url"), "/")
	if base == "" {
		listen := opsAddress(c)
		if listen == "" {
			return "", c.fail(errors.New("ops.listen is empty, so there is no address to ask; set it, or give --url"))
		}
		base = "http://" + reachable(listen)
	}
	if u, err := url.Parse(base); err != nil || u.Scheme != "http" || u.Host == "" {
		fmt.Fprintf(c.stderr, "rideau %s: --url %q must look like http://127.0.0.1:5380\n", c.Name(), base)
		return "", exitUsage
	}
	return base, exitOK
}

// directly returns a client that uses no proxy: a proxy in the environment could
// not reach this machine's loopback.
func directly() *http.Client { return &http.Client{Transport: &http.Transport{Proxy: nil}} }

// opsAddress returns the address of the running rideau's HTTP. A rideau that
// refused a configuration serves on, and is healthy: if the configuration has an
// error, the address alone is read from it, and the default is used if that fails.
func opsAddress(c *call) string {
	path := c.string("config")
	cfg, err := setup.Load(path)
	if err == nil {
		return cfg.Ops.Listen
	}
	fmt.Fprintf(c.stderr, "rideau %s: the configuration has an error, and is used for ops.listen alone: %v\n", c.Name(), err)
	if setup.Regular(path) == nil {
		if text, err := os.ReadFile(path); err == nil {
			if m := opsListen.FindSubmatch(text); m != nil {
				return string(m[1])
			}
		}
	}
	return config.Default().Ops.Listen
}

// opsListen finds ops.listen in a file that does not parse.
var opsListen = regexp.MustCompile(`(?m)^ops:(?:[ \t]*\{[^}\n]*?|(?:[^\n]*\n(?:[ \t][^\n]*)?)*?\n?[ \t]+)listen:[ \t]*["']?([^"'\s,}#]+)`)

// reachable turns an address to listen on into one to connect to.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	switch ip := net.ParseIP(host); {
	case host == "", ip != nil && ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
