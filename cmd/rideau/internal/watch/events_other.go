//go:build !linux

package watch

// events are not used on this system.
type events struct {
	changed chan struct{}
	whole   bool
}

func newEvents() *events { return nil }

func (*events) follow([]string, bool) {}

func (*events) close() {}
