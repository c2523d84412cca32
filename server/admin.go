package server

import (
	"net"
	"net/http"
	"net/netip"

	"github.com/plinthkv/plinth/storage"
)

// adminPath begins the path of requests about the host.
const adminPath = "/v1/admin/"

// administer hands a request to Settings.Admin, if its caller may.
func (s *Server) administer(w http.ResponseWriter, r *http.Request) error {
	authorization := r.Header.Get("Authorization")
	rules := s.now()
	switch {
	case rules.admin.Token.Len() > 0 && rules.admin.Admits(authorization):
	case !s.known(r) || rules.gatekeeper.Token.Len() == 0 && authorization != "" && rules.admin.Token.Len() > 0:
		w.Header().Set("WWW-Authenticate", "Bearer")
		return storage.Errorf(storage.Unauthenticated, "bearer token required")
	case !nearby(r):
		return httpError(http.StatusForbidden, "permission_denied", "administration is restricted to callers on the same machine, and to those with server.admin_token")
	}
	s.settings.Admin.ServeHTTP(w, r)
	return nil
}

// nearby reports whether a request comes from a process on this machine, and not by way of
// a proxy that is one.
func nearby(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	if _, unix := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr); unix {
		return true
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && from.Addr().Unmap().IsLoopback()
}
