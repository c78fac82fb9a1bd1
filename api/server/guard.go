package server

import (
	"crypto/subtle"
	"net"
	"net/http"
	"strings"

	"hearth/core/fault"
)

// guard lets a request over TCP through if it carries the token and was meant
// for this machine: a name that a foreign page made point at loopback is
// refused. Only /livez is open, for whatever watches over the process.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !local(r.Host):
			writeProblem(w, fault.New(fault.Unauthorized, "%s: the host %q isn't this machine", r.URL.Path, r.Host))
		case r.URL.Path != "/livez" && !s.tokened(r):
			w.Header().Set("WWW-Authenticate", `Bearer realm="hearth"`)
			writeProblem(w, fault.New(fault.Unauthorized, "%s: no valid token", r.URL.Path))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (s *Server) tokened(r *http.Request) bool {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && s.c.Token != "" && subtle.ConstantTimeCompare([]byte(given), []byte(s.c.Token)) == 1
}

func local(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
