package web

import (
	"encoding/json"
	"net/http"
)

// health answers 200 while the gateway works and 503 when it must be restarted,
// with all of its status in the body, a status.Gateway.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	g := s.Status()
	w.Header().Set("Content-Type", "application/json")
	if !g.Healthy() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(g) // a visitor who has gone hears nothing
}
