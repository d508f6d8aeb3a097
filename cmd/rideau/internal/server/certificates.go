package server

import (
	"context"
	"time"
)

// watchCertificates says each day which certificates have to be renewed. It ends with ctx.
func (s *Server) watchCertificates(ctx context.Context) {
	tick := time.NewTicker(24 * time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, c := range s.secured.Certificates() {
			if why := c.Fault(time.Now()); why != "" {
				s.log.Warn("a certificate has to be renewed", "why", why)
			}
		}
	}
}
