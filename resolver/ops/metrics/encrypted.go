package metrics

import "time"

// Encrypted is the state of the encrypted listeners at one moment. The counters never fall.
type Encrypted struct {
	Connections      []Connections // of each transport that is served
	Handshakes       int           // connections on which nothing was asked yet
	Refused, Evicted uint64
	Certificates     []Certificate
	// Hidden says why clients are not told of some of the listeners.
	Hidden []string
}

// Connections are the open connections of a transport.
type Connections struct {
	Transport string
	Open      int
}

// Certificate is a certificate that clients see.
type Certificate struct {
	File    string
	Expires time.Time
	// Fault says why it has to be renewed; empty if it has not.
	Fault string
}

func (s scrape) encrypted(e Encrypted) {
	for _, c := range e.Connections {
		s.put(encryptedConnections, float64(c.Open), c.Transport)
	}
	if len(e.Connections) == 0 {
		return
	}
	s.put(encryptedHandshakes, float64(e.Handshakes))
	s.put(encryptedRefused, float64(e.Refused))
	s.put(encryptedEvicted, float64(e.Evicted))
	for _, c := range e.Certificates {
		s.put(certificateExpiry, seconds(c.Expires), c.File)
	}
}
