// Package reach finds the operators' HTTP of the rideau that runs on this machine.
package reach

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"regexp"
	"time"

	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
)

// Directly returns a client that uses no proxy: a proxy in the environment could
// not reach this machine's loopback.
func Directly() *http.Client { return &http.Client{Transport: &http.Transport{Proxy: nil}} }

// SocketURL is the address of what is asked through a Unix socket.
const SocketURL = "http://localhost"

// Through returns a client that uses a Unix socket.
func Through(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
}

// Address returns the address of the running rideau's HTTP, and its Unix socket if
// that is there and this user may use it. A rideau that
// refused a configuration serves on, and is healthy: if the configuration has an
// error, which is wrong, the address alone is read from it, and the default is used
// if that fails. If there is no such file, there is no address: another rideau may have the default one.
func Address(path string) (listen, socket string, wrong error) {
	cfg, err := setup.Load(path)
	if err == nil {
		socket, _ := cfg.SocketPath()
		if socket == "" {
			return cfg.Ops.Listen, "", nil
		}
		conn, err := net.DialTimeout("unix", socket, time.Second)
		if err != nil {
			return cfg.Ops.Listen, "", nil
		}
		conn.Close()
		return cfg.Ops.Listen, socket, nil
	}
	if setup.Regular(path) == nil {
		if text, e := os.ReadFile(path); e == nil {
			if m := opsListen.FindSubmatch(text); m != nil {
				return string(m[1]), "", err
			}
		}
	}
	if _, e := os.Stat(path); path != "" && errors.Is(e, fs.ErrNotExist) {
		return "", "", err
	}
	return config.Default().Ops.Listen, "", err
}

// opsListen finds ops.listen in a file that does not parse.
var opsListen = regexp.MustCompile(`(?m)^ops:(?:[ \t]*\{[^}\n]*?|(?:[^\n]*\n(?:[ \t][^\n]*)?)*?\n?[ \t]+)listen:[ \t]*["']?([^"'\s,}#]+)`)

// Host turns an address to listen on into one to connect to.
func Host(listen string) string {
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
