package evidence

import (
	config "rideau/config/evidence"
	"rideau/resolver/audit/dial"
	"rideau/resolver/audit/schema"
	"rideau/resolver/audit/sink"
	"rideau/resolver/audit/syslog"
	"rideau/resolver/audit/webhook"
)

// remote says how to connect to the server of a sink. local is the network of sockets of
// this machine: unix or unixgram.
func remote(s config.Sink, local string) dial.Options {
	network, address := s.Remote()
	if network == "unix" {
		network = local
	}
	return dial.Options{Network: network, Address: address, Name: s.Name, CAFile: s.CAFile, Pins: s.Pins, Certificate: s.Certificate, Key: s.Key}
}

// syslogWriter makes the Writer of a sink of kind syslog.
func syslogWriter(s config.Sink) (sink.Writer, error) {
	o := remote(s, "unixgram")
	if o.Network == "udp" || o.Network == "unixgram" {
		return syslog.NewDatagrams(o), nil
	}
	w, err := syslog.NewStream(o)
	if err != nil {
		return nil, err // not a nil pointer in an interface
	}
	return w, nil
}

// wrap makes the Encoder of a sink from that of its format.
func wrap(s config.Sink, n *schema.Node, format sink.Encoder) sink.Encoder {
	if s.Kind == config.Webhook {
		return webhook.Encoder{Encoder: format, ID: n.AppendActID}
	}
	if s.Kind != config.Syslog {
		return format
	}
	return syslog.NewEncoder(syslog.Messages{Facility: s.Facility.Number(), Enterprise: uint32(s.Enterprise), Max: s.MaxMessage, Node: n, Text: format})
}
