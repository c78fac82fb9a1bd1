package door

import (
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"hearth/core/call"
	"hearth/core/fault"
)

// A visit is a request as a function is told of it.
type visit struct {
	name string // of the function: the first part of the path
	rest string // of the path, "" or from the slash on
	body int    // bytes of it; -1: the request has none
	// credentials says that what proves who asks is passed on: hosts can read it.
	credentials bool
}

// environment are the meta-variables of CGI (RFC 3875, 4.1) for r, in order. What
// the function's own variables name isn't among them: a request can't replace it.
func (v visit) environment(r *http.Request, own []string) ([]string, error) {
	vars := v.headers(r.Header)
	host, port := place(r)
	vars["GATEWAY_INTERFACE"] = "CGI/1.1"
	vars["SERVER_SOFTWARE"] = "hearth"
	vars["SERVER_PROTOCOL"] = r.Proto
	vars["SERVER_NAME"], vars["SERVER_PORT"] = host, port
	vars["REQUEST_METHOD"] = r.Method
	vars["REQUEST_URI"] = r.URL.RequestURI()
	vars["SCRIPT_NAME"], vars["PATH_INFO"] = "/"+v.name, v.rest
	vars["QUERY_STRING"] = r.URL.RawQuery
	vars["HTTP_HOST"] = r.Host
	if ip, port, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		vars["REMOTE_ADDR"], vars["REMOTE_HOST"], vars["REMOTE_PORT"] = ip, ip, port
	}
	if kind := r.Header.Get("Content-Type"); kind != "" {
		vars["CONTENT_TYPE"] = kind
	}
	if v.body >= 0 {
		vars["CONTENT_LENGTH"] = strconv.Itoa(v.body)
	}
	words := len(v.name) + 1
	for _, e := range own {
		name, _, _ := strings.Cut(e, "=")
		delete(vars, name)
		words += len(e) + 1
	}
	out := make([]string, 0, len(vars))
	for name, value := range vars {
		if !utf8.ValidString(value) || strings.IndexByte(value, 0) >= 0 {
			return nil, fault.New(fault.BadRequest, "%s isn't text in UTF-8", name)
		}
		out = append(out, name+"="+value)
		words += len(name) + len(value) + 2
	}
	if words > call.MaxWords || len(out)+len(own) > call.MaxCount {
		return nil, refused{http.StatusRequestHeaderFieldsTooLarge, fault.New(fault.TooLarge,
			"%d headers and variables of %d bytes, at most %d of %d are allowed", len(out)+len(own), words, call.MaxCount, call.MaxWords)}
	}
	slices.Sort(out)
	return out, nil
}

// headers are those of a request as HTTP_NAME, except what concerns one connection,
// what has a variable of its own, Proxy (which programs take for their own
// HTTP_PROXY), and names that another could be taken for.
func (v visit) headers(h http.Header) map[string]string {
	skip := hops(h)
	for _, name := range []string{"Content-Length", "Content-Type", "Expect", "Host", "Proxy"} {
		skip[name] = true
	}
	if !v.credentials {
		skip["Authorization"], skip["Cookie"] = true, true
	}
	out := make(map[string]string, len(h)+16)
	for name, values := range h {
		if skip[name] || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			continue
		}
		between := ", "
		if name == "Cookie" {
			between = "; "
		}
		out["HTTP_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = strings.Join(values, between)
	}
	return out
}

// place is what the client calls this door.
func place(r *http.Request) (host, port string) {
	host, port, err := net.SplitHostPort(r.Host)
	if err == nil {
		return host, port
	}
	if at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if h, p, err := net.SplitHostPort(at.String()); err == nil {
			host, port = h, p
		}
	}
	if r.Host != "" {
		host = strings.Trim(r.Host, "[]")
	}
	return host, port
}

// meant says whether a request was meant for this door: on loopback only by a name
// of this machine, so that no page elsewhere reaches it by a name that it made
// point here; nor by a browser that runs such a page.
func (d *Door) meant(r *http.Request) error {
	name := r.Host
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		name = host
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	if slices.ContainsFunc(d.c.Names, func(n string) bool { return strings.EqualFold(n, name) }) {
		return nil
	}
	if !loopback(name) {
		if len(d.c.Names) == 0 && !d.private {
			return nil
		}
		return refused{http.StatusMisdirectedRequest, fault.New(fault.BadRequest, "the name %q isn't this door's", fault.Brief(cut(name)))}
	}
	_, origin, _ := strings.Cut(r.Header.Get("Origin"), "://")
	if host, _, err := net.SplitHostPort(origin); err == nil {
		origin = host
	}
	if r.Header.Get("Sec-Fetch-Site") == "cross-site" || r.Header.Get("Origin") != "" && !loopback(strings.ToLower(strings.Trim(origin, "[]"))) {
		return refused{http.StatusForbidden, fault.New(fault.BadRequest, "a page of another site asks for it")}
	}
	return nil
}

// loopback says whether a name or an address always means this machine.
func loopback(name string) bool {
	ip := net.ParseIP(name)
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || ip != nil && ip.IsLoopback()
}
