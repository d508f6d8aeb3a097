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
		listen, socket := opsAddress(c)
		if socket != "" {
			return socketURL, through(socket), exitOK
		}
		if listen == "" {
			return "", nil, c.fail(errors.New("ops.listen is empty, so there is no address to ask; set it, or give --url"))
		}
		base = (&url.URL{Scheme: "http", Host: reachable(listen)}).String() // a zone is written as %25eth0
	}
	if u, err := url.Parse(base); err != nil || u.Scheme != "http" || u.Host == "" {
		fmt.Fprintf(c.stderr, "rideau %s: --url %q must look like http://127.0.0.1:5380\n", c.Name(), base)
		return "", nil, exitUsage
	}
	return base, directly(), exitOK
}

// directly returns a client that uses no proxy: a proxy in the environment could
// not reach this machine's loopback.
func directly() *http.Client { return &http.Client{Transport: &http.Transport{Proxy: nil}} }

// socketURL is the address of what is asked through a Unix socket.
const socketURL = "http://localhost"

// through returns a client that uses a Unix socket.
func through(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
}

// opsAddress returns the address of the running rideau's HTTP, and its Unix socket if
// that is there and this user may use it. A rideau that
// refused a configuration serves on, and is healthy: if the configuration has an
// error, the address alone is read from it, and the default is used if that fails.
func opsAddress(c *call) (listen, socket string) {
	path := c.string("config")
	cfg, err := setup.Load(path)
	if err == nil {
		socket, _ := cfg.SocketPath()
		if socket == "" {
			return cfg.Ops.Listen, ""
		}
		conn, err := net.DialTimeout("unix", socket, time.Second)
		if err != nil {
			return cfg.Ops.Listen, ""
		}
		conn.Close()
		return cfg.Ops.Listen, socket
	}
	fmt.Fprintf(c.stderr, "rideau %s: the configuration has an error, and is used for ops.listen alone: %v\n", c.Name(), err)
	if setup.Regular(path) == nil {
		if text, err := os.ReadFile(path); err == nil {
			if m := opsListen.FindSubmatch(text); m != nil {
				return string(m[1]), ""
			}
		}
	}
	return config.Default().Ops.Listen, ""
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
