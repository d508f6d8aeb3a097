//go:build ignore

// Report reads the output of go test -json and prints what go test prints: a line
// for each package, and all that a failed test says. It exits with 1 if anything
// failed.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
)

// event is one line of go test -json; see go doc test2json.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

func main() {
	verbose := flag.Bool("v", false, "also print what passed tests say")
	times := flag.String("times", "", "a `file` to which the time of each test is added")
	flag.Parse()
	failed, err := report(*verbose, *times)
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
	}
	if failed || err != nil {
		os.Exit(1)
	}
}

// report returns whether anything failed.
func report(verbose bool, times string) (failed bool, err error) {
	var log *os.File // nothing is written to nil
	if times != "" {
		if log, err = os.OpenFile(times, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666); err != nil {
			return true, err
		}
		defer log.Close()
	}
	said := map[[2]string]*strings.Builder{} // by package and test, while it runs
	in := bufio.NewReader(os.Stdin)
	packages := 0
	for {
		line, err := in.ReadString('\n')
		if line == "" {
			if packages == 0 {
				return true, fmt.Errorf("no package was tested: %v", err)
			}
			return failed, nil
		}
		var e event
		if json.Unmarshal([]byte(line), &e) != nil {
			fmt.Print(line)
			continue
		}
		id := [2]string{e.Package, e.Test}
		switch e.Action {
		case "build-output":
			fmt.Print(e.Output)
		case "build-fail":
			failed = true
		case "output":
			if verbose || e.Test == "" && e.Output != "PASS\n" && e.Output != "testing: warning: no tests to run\n" {
				fmt.Print(e.Output)
				continue
			}
			if e.Test == "" {
				continue
			}
			if said[id] == nil {
				said[id] = new(strings.Builder)
			}
			said[id].WriteString(e.Output)
		case "pass", "skip", "fail":
			switch {
			case e.Test == "":
				packages++
				if e.Action == "fail" {
					unfinished(said, e.Package)
				}
			case e.Action == "fail" && said[id] != nil:
				fmt.Print(said[id])
			}
			failed = failed || e.Action == "fail"
			delete(said, id)
			if e.Test != "" && !strings.Contains(e.Test, "/") {
				fmt.Fprintf(log, "%7.2fs  %s %s\n", e.Elapsed, strings.TrimPrefix(e.Package, "rideau/"), e.Test)
			}
		}
	}
}

// unfinished prints what tests said that never came to an end, because their
// package panicked or took too long.
func unfinished(said map[[2]string]*strings.Builder, pkg string) {
	for id, text := range said {
		if id[0] == pkg && id[1] != "" {
			fmt.Print(text)
			delete(said, id)
		}
	}
}
