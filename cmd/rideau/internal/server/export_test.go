package server

import "rideau/resolver/ops/access"

// OpsRoutes returns all requests that the operators' HTTP answers.
func (s *Server) OpsRoutes() []access.Route { return s.web.Routes() }
