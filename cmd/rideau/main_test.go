package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"rideau/config"
	"rideau/resolver/resolvertest"
)

// TestMain lets the test's own binary run as the program, under the name rideau. It
// is built with the race detector if the tests are.
func TestMain(m *testing.M) {
	if _, set := os.LookupEnv("GORACE"); !set {
		// Under the race detector a process waits a second at its end.
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	testscript.Main(m, map[string]func(){"rideau": main, "reflector": reflect})
}

// TestScript runs the scripts in testdata/script. In addition to the commands of
// testscript and the program itself they have those of scriptCommands, and two
// variables: $UPSTREAM is the address of a resolver, $SILENT that of one which never
// answers.
func TestScript(t *testing.T) {
	serveDefaults(t)
	up, silent := new(resolvertest.Upstream), new(resolvertest.Upstream)
	up.Start(t)
	silent.Start(t)
	silent.SetDown(true)
	if err := up.Load(". SOA\n* A\n\tanswer www.canada.ca. 300 IN A 192.0.2.1\n"); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                scriptCommands(),
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("ESC", "\x1b")
			env.Setenv("UPSTREAM", up.Addr().String())
			env.Setenv("SILENT", silent.Addr().String())
			return nil
		},
	})
}

func scriptCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"exits":      scriptExits,
		"json":       scriptJSON,
		"freeport":   scriptFreePort,
		"expand":     scriptExpand,
		"eventually": scriptEventually,
		"quiet":      scriptQuiet,
	}
}

// scriptExits is: exits CODE COMMAND [ARGUMENT...]. The command ends with this exit
// code.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARGUMENT...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// scriptJSON is: json PATH VALUE. The last output is JSON, and has this value at the
// path. Dots separate the parts of a path; an element of an array has its index, and
// "len" is the length.
func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json PATH VALUE")
	}
	d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	d.UseNumber()
	var v any
	ts.Check(d.Decode(&v))
	if d.More() {
		ts.Fatalf("there is more than one JSON value")
	}
	for part := range strings.SplitSeq(args[0], ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[part]
		case []any:
			if part == "len" {
				v = len(x)
				break
			}
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(x) {
				ts.Fatalf("%s: there are %d, and no %q", args[0], len(x), part)
			}
			v = x[i]
		default:
			v = nil
		}
	}
	if got := fmt.Sprint(v); (got == args[1]) == neg {
		ts.Fatalf("%s is %q", args[0], got)
	}
}

// serveDefaults has the addresses that a rideau without a configuration serves, unless one of another is there: no
// test may depend on whether one runs.
func serveDefaults(t *testing.T) {
	t.Helper()
	cfg := config.Default()
	for _, a := range cfg.Listen.Addresses {
		if l, err := net.Listen("tcp", a.String()); err == nil {
			t.Cleanup(func() { l.Close() })
		}
		if c, err := net.ListenPacket("udp", a.String()); err == nil {
			t.Cleanup(func() { c.Close() })
		}
	}
	if l, err := net.Listen("tcp", cfg.Ops.Listen); err == nil {
		ready := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ready\n") })}
		go ready.Serve(l)
		t.Cleanup(func() { ready.Close() })
	}
}

// scriptFreePort is: freeport VARIABLE... Each is set to a free port of 127.0.0.1.
func scriptFreePort(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		p, err := resolvertest.FreePort("127.0.0.1")
		ts.Check(err)
		ts.Setenv(name, strconv.Itoa(p))
	}
}

// scriptExpand is: expand FILE... Variables in them are replaced by their
// values.
func scriptExpand(ts *testscript.TestScript, neg bool, args []string) {
	for _, f := range args {
		text := os.Expand(ts.ReadFile(f), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(f), []byte(text), 0o666))
	}
}

// scriptEventually is: [!] eventually COMMAND [ARGUMENT...]. The command is repeated
// until it succeeds, or with ! until it fails, for five seconds at most.
func scriptEventually(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: [!] eventually COMMAND [ARGUMENT...]")
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := ts.Exec(args[0], args[1:]...)
		if (err != nil) == neg {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("still not as wanted: %v", err)
		}
	}
}

// scriptQuiet is: quiet stdout|stderr. Nothing was printed there.
func scriptQuiet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: quiet stdout|stderr")
	}
	if got := ts.ReadFile(args[0]); got != "" {
		ts.Fatalf("on %s: %s", args[0], got)
	}
}

// TestRunInProcess: the commands can be called without a process, and end with
// their context.
func TestRunInProcess(t *testing.T) {
	var out, errs strings.Builder
	if code := run(context.Background(), []string{"version"}, &out, &errs); code != exitOK || !strings.HasPrefix(out.String(), "rideau ") {
		t.Errorf("version: %d, %q, %q", code, out.String(), errs.String())
	}
	path := t.TempDir() + "/rideau.yaml"
	serve := func(language string) (printed, logged string) {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		text := "listen: {addresses: [\"127.0.0.1:0\"]}\nops: {listen: \"127.0.0.1:0\"}\nupstream: {servers: [192.0.2.1]}\nlog: {language: " + language + "}\n" +
			"bans: [{id: one, title: {en: One}, lists: [one]}]\nlists: [{id: one, names: [one.example]}]\n"
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		out.Reset()
		errs.Reset()
		if code := run(ctx, []string{"serve", "--config", path}, &out, &errs); code != exitOK {
			t.Errorf("serve: %d, %q, %q", code, out.String(), errs.String())
		}
		return out.String(), errs.String()
	}
	if _, logged := serve("en"); !strings.Contains(logged, "stopped") {
		t.Errorf("logged is %q", logged)
	}
	printed, logged := serve("fr")
	for _, want := range []string{" sert le DNS sur 127.0.0.1:", "  exploitation http://127.0.0.1:", "  interdiction one : 1 nom, enforce, nxdomain\n", "  amont        192.0.2.1:53\n",
		"  essayez      dig @127.0.0.1 -p "} {
		if !strings.Contains(printed, want) {
			t.Errorf("%q lacks %q", printed, want)
		}
	}
	if !strings.Contains(logged, "démarré") {
		t.Errorf("logged is %q", logged)
	}
}
