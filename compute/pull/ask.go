package pull

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ociauth"

	"hearth/core/fault"
)

// ask sends one request for a part of the image. The caller closes the answer's body.
func (r *remote) ask(ctx context.Context, what string, header http.Header) (*http.Response, error) {
	ctx = ociauth.ContextWithRequestInfo(ctx, ociauth.RequestInfo{RequiredScope: ociauth.NewScope(ociauth.ResourceScope{
		ResourceType: ociauth.TypeRepository, Resource: r.c.Name.Image, Action: ociauth.ActionPull,
	})})
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+"/v2/"+r.c.Name.Image+what, nil)
	if err != nil {
		return nil, err
	}
	q.Header = header
	q.Header.Set("User-Agent", "hearth")
	a, err := r.client.Do(q)
	if err != nil {
		return nil, r.unanswered(err)
	}
	r.reached = true
	if a.StatusCode == http.StatusOK || a.StatusCode == http.StatusPartialContent {
		return a, nil
	}
	defer a.Body.Close()
	return nil, refused(a)
}

// unanswered gives a request that came to nothing its code. Of where it went only the
// host is told: what is behind may be a signature that lets anybody read.
func (r *remote) unanswered(err error) error {
	var way *url.Error
	if errors.As(err, &way) {
		host := "the registry"
		if at, err := url.Parse(way.URL); err == nil {
			host = at.Host
		}
		err = fmt.Errorf("ask %.100s: %w", host, way.Err)
	}
	var status ociregistry.HTTPError
	var own *fault.Error
	var wait passing
	var dial *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &wait):
		return wait
	case errors.As(err, &own):
		return own
	case errors.As(err, &status): // of who makes its tokens
		code := status.StatusCode()
		err := fault.New(fault.RegistryRefused, "log in: status %d", code)
		if busy(code) {
			return passing{err}
		}
		return err
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &certificate), errors.As(err, &dial) && dial.Op == "dial" && !r.reached:
		return fault.New(fault.RegistryDown, "%w", err)
	}
	return passing{fault.New(fault.RegistryDown, "%w", err)}
}

// busy says that a status may be another in a while.
func busy(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= 500
}

// refused reads why a registry gives nothing.
func refused(a *http.Response) error {
	text, err := io.ReadAll(a.Body)
	if err != nil {
		text = nil // the status says enough
	}
	var says struct {
		Errors []struct{ Message string }
	}
	why := a.Status
	if json.Unmarshal(text, &says) == nil && len(says.Errors) > 0 && says.Errors[0].Message != "" {
		why = fmt.Sprintf("%s: %.200q", why, says.Errors[0].Message)
	}
	switch {
	case a.StatusCode == http.StatusNotFound:
		return fault.New(fault.NotFound, "the registry doesn't have it: %s", why)
	case a.StatusCode == http.StatusUnauthorized, a.StatusCode == http.StatusForbidden:
		return fault.New(fault.RegistryRefused, "it isn't there, or it isn't for you: %s", why)
	case a.StatusCode == http.StatusTooManyRequests:
		return passing{fault.New(fault.RegistryRefused, "%s", why)}
	case busy(a.StatusCode):
		return passing{fault.New(fault.RegistryDown, "%s", why)}
	}
	return fault.New(fault.RegistryRefused, "%s", why)
}

// patience says how long something is tried again.
type patience struct {
	most  time.Duration
	since time.Time
	pause time.Duration
}

func (r *remote) patience() *patience {
	p := &patience{most: r.c.Patience}
	p.renew()
	return p
}

// renew begins anew: there was something.
func (p *patience) renew() { p.since, p.pause = time.Now(), p.most/100 }

// again waits until it may be tried once more, after err; false: it is of no use, or has
// taken too long.
func (p *patience) again(ctx context.Context, err error) bool {
	var wait passing
	if !errors.As(err, &wait) || time.Since(p.since)+p.pause > p.most {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(p.pause):
	}
	p.pause = min(2*p.pause, p.most/10)
	return true
}
