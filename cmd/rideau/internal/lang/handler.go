package lang

import (
	"context"
	"log/slog"
)

// Handler is a log's handler that says messages in the language of p, and hands the records to h. Keys, values and levels stay as they are, so that
// programs read logs of both languages alike. For English it is h itself.
func (p *Printer) Handler(h slog.Handler) slog.Handler {
	if p.table == nil {
		return h
	}
	return handler{h, p}
}

type handler struct {
	slog.Handler
	p *Printer
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	r.Message = h.p.Say(r.Message) // of a copy
	return h.Handler.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs), h.p}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.Handler.WithGroup(name), h.p}
}
