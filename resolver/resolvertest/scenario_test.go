package resolvertest

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestScenario runs every scenario: with the calls of a listener, with those of a
// worker's event loop, and over real sockets. To run one:
//
//	go test ./resolver/resolvertest -run Scenario/block-suffix
func TestScenario(t *testing.T) {
	paths, err := filepath.Glob("testdata/scenario/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			runFile(t, path, plainResolve)
			runFile(t, path, loopResolve)
			runFile(t, path, plainResolve, socketFront)
		})
	}
}
