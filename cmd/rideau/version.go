package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// release is set by the linker when a release is built:
// -ldflags "-X main.release=1.2.3".
var release string

// build describes this program.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func buildInfo() build {
	b := build{release, "unknown", runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	if b.Version == "" {
		b.Version = "devel"
		if v := info.Main.Version; v != "" && v != "(devel)" {
			b.Version = v
		}
	}
	modified := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	if modified {
		b.Revision += " with changes"
	}
	return b
}

func version(c *call) int {
	b := buildInfo()
	if c.bool("json") {
		printJSON(c, b)
		return exitOK
	}
	fmt.Fprintf(c.stdout, "rideau %s, revision %s, %s, %s\n", b.Version, b.Revision, b.Go, b.Platform)
	return exitOK
}

// agent is what the servers of lists see as User-Agent.
func agent() string { return "rideau/" + buildInfo().Version }
