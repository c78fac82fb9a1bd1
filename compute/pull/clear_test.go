package pull_test

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/compute/pull"
	"hearth/core/fault"
)

// leadingTo is a way on which every name leads to one server, and an address to itself.
func leadingTo(s *httptest.Server, tls *http.Transport) *http.Transport {
	if tls == nil {
		tls = &http.Transport{}
	}
	tls.DialContext = func(ctx context.Context, network, to string) (net.Conn, error) {
		if !strings.HasPrefix(to, "127.") {
			to = s.Listener.Addr().String()
		}
		return (&net.Dialer{}).DialContext(ctx, network, to)
	}
	return tls
}

func parsed(t *testing.T, name string) pull.Name {
	t.Helper()
	n, err := pull.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestARegistryElsewhereSpeaksTLSUnlessTheUserSaysSo(t *testing.T) {
	w := open(t)
	w.image(t, "v1", "layer")
	sealed := httptest.NewUnstartedServer(w.registry.Config.Handler)
	sealed.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that turn away
	sealed.StartTLS()
	t.Cleanup(sealed.Close)
	for _, tt := range []struct {
		name     string
		server   *httptest.Server
		trusted  bool
		insecure bool
		want     fault.Code
	}{
		{"with TLS", sealed, true, false, ""},
		{"with a certificate of its own", sealed, false, false, fault.RegistryDown},
		{"without TLS", w.registry, false, false, fault.RegistryDown},
		{"without TLS, as was said", w.registry, false, true, ""},
	} {
		c := pull.Config{Name: parsed(t, "example.com/team/app:v1"), Insecure: tt.insecure}
		var tls *http.Transport
		if tt.trusted {
			tls = sealed.Client().Transport.(*http.Transport).Clone()
		}
		c.Transport = leadingTo(tt.server, tls)
		i, err := pull.Open(t.Context(), c)
		if fault.CodeOf(err) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err == nil {
			whole(t, i)
		}
	}
	before := len(w.asked("registry", ""))
	w.before = func(rw http.ResponseWriter, q *http.Request) {
		http.Redirect(rw, q, "http://example.com"+q.URL.Path, http.StatusTemporaryRedirect)
	}
	c := pull.Config{Name: parsed(t, "example.com/team/app:v1"), Transport: leadingTo(sealed, sealed.Client().Transport.(*http.Transport).Clone())}
	if _, err := pull.Open(t.Context(), c); fault.CodeOf(err) != fault.RegistryDown || !strings.Contains(err.Error(), "in the clear") {
		t.Errorf("out of TLS: %v", err)
	}
	if got := w.asked("registry", "")[before:]; len(got) != 2 { // one without a token
		t.Errorf("out of TLS it was asked %q", got)
	}
}

// docker.io's images lie at another host, and its logins under a third name.
func TestAPlainNameIsDockersOwnRegistrys(t *testing.T) {
	const body = `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeImageManifest + `","config":{"mediaType":"x","digest":"sha256:` +
		`e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]}`
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, q *http.Request) {
		switch user, password, ok := q.BasicAuth(); {
		case q.Host != "registry-1.docker.io" || q.URL.Path != "/v2/library/debian/manifests/latest":
			rw.WriteHeader(http.StatusNotFound)
		case !ok:
			rw.Header().Set("Www-Authenticate", `Basic realm="here"`)
			rw.WriteHeader(http.StatusUnauthorized)
		case user != "me" || password != secret:
			rw.WriteHeader(http.StatusForbidden)
		default:
			rw.Header().Set("Content-Type", oci.MediaTypeImageManifest)
			_, _ = io.WriteString(rw, body) // the client sees what is missing
		}
	}))
	t.Cleanup(s.Close)
	helper(t, "hub", `[ "$server" = https://index.docker.io/v1/ ] && echo '{"Username":"me","Secret":"`+secret+`"}'`)
	for _, config := range []string{
		`{"auths":{"https://index.docker.io/v1/":{"auth":"` + auth("me", secret) + `"}}}`, `{"auths":{"docker.io":{"auth":"` + auth("me", secret) + `"}}}`,
		`{"credsStore":"hub","auths":{"https://index.docker.io/v1/":{}}}`,
	} {
		i, err := pull.Open(t.Context(), pull.Config{
			Name: parsed(t, "debian"), Insecure: true, Logins: logins(t, config), Transport: leadingTo(s, nil), Patience: time.Second,
		})
		if err != nil || i.Digest() != digest.FromString(body) || i.Name != "debian:latest" {
			t.Errorf("%s: %v", config, err)
			continue
		}
		whole(t, i)
	}
}
