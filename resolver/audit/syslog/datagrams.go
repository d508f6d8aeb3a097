package syslog

import (
	"context"
	"errors"
	"syscall"
	"time"

	"rideau/resolver/audit/dial"
	"rideau/resolver/audit/sink"
)

// Datagrams is a Writer of one datagram for each event, over UDP or to a socket
// of this machine. It is for one goroutine.
type Datagrams struct {
	dial dial.Options
	conn *dial.Conn // nil: there is none
}

// NewDatagrams makes a Datagrams.
func NewDatagrams(o dial.Options) *Datagrams { return &Datagrams{dial: o} }

// Write implements sink.Writer. If a server on UDP says that it is not there, none
// of the events is taken, since one that went before was the cause.
func (d *Datagrams) Write(ctx context.Context, events [][]byte) (int, error) {
	if d.conn == nil {
		c, err := d.dial.Dial(ctx)
		if err != nil {
			return 0, err
		}
		d.conn = c
	}
	if err := d.conn.SetWriteDeadline(time.Now().Add(roomPatience)); err != nil {
		return 0, err
	}
	for i, e := range events {
		_, err := d.conn.Write(e)
		switch {
		case err == nil:
			continue
		case errors.Is(err, syscall.EMSGSIZE):
			return i, &sink.Refused{Err: err}
		case errors.Is(err, syscall.ECONNREFUSED) && d.dial.Network == "udp":
			i = 0
		}
		d.Close()
		return i, err
	}
	return len(events), nil
}

// Close implements sink.Writer.
func (d *Datagrams) Close() error {
	if d.conn == nil {
		return nil
	}
	c := d.conn
	d.conn = nil
	return c.Close()
}
