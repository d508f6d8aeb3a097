package evidence

import (
	"context"
	"net"

	config "rideau/config/evidence"
	"rideau/resolver/audit/dnstap"
	"rideau/resolver/audit/sink"
)

// dnstapWriter makes the Writer of a sink of kind dnstap.
func dnstapWriter(s config.Sink) (sink.Writer, error) {
	if s.Path != "" {
		w, err := dnstap.NewFile(fileOptions(s))
		if err != nil {
			return nil, err // not a nil pointer in an interface
		}
		return w, nil
	}
	o := remote(s, "unix")
	if err := o.Check(); err != nil {
		return nil, err
	}
	return dnstap.NewStream(func(ctx context.Context) (net.Conn, error) {
		c, err := o.Dial(ctx)
		if err != nil {
			return nil, err // not a nil pointer in an interface
		}
		return c, nil
	}), nil
}
