package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hearth/api"
	"hearth/core/capability"
	"hearth/core/fault"
	"hearth/storage/s3"
)

// S3Settings are the S3 door's.
type S3Settings struct {
	Listen      string `toml:"listen"` // host:port; empty: `hearth s3 serve` opens it. Without TLS a loopback address
	Region      string `toml:"region"`
	Domain      string `toml:"domain"`      // BUCKET.domain is a bucket
	Website     string `toml:"website"`     // BUCKET.website shows its website
	TLS         bool   `toml:"tls"`         // with the certificate below, or one of its own
	Certificate string `toml:"certificate"` // PEM file
	Key         string `toml:"key"`         // PEM file
}

// usualKey is the name of the key that is made when one is needed.
const usualKey = "default"

// s3Door is the S3 door of a node, open or closed.
type s3Door struct {
	n    *Node
	keys *s3.Keys
	seen *s3.Metrics
	hinge[api.S3Door]
}

func newS3Door(n *Node) (*s3Door, error) {
	keys, err := s3.OpenKeys(filepath.Join(n.dir, "data", "s3-keys.json"), n.keys.Doors().Reveal(), time.Now)
	if err != nil {
		return nil, err
	}
	d := &s3Door{n: n, keys: keys, seen: s3.NewMetrics()}
	d.fallen = func(was api.S3Door, err error) api.S3Door {
		n.log.Error("S3 door ended by itself", "endpoint", was.Endpoint, "err", err)
		return api.S3Door{Problem: fmt.Sprint(err)}
	}
	if err := n.metrics.Register(d.seen); err != nil {
		return nil, fmt.Errorf("s3 door: %w", err)
	}
	return d, nil
}

// run opens the door where the settings say so, and closes it when ctx ends. That
// it can't be opened keeps nothing else from working.
func (d *s3Door) run(ctx context.Context) {
	if set := d.n.settings.S3; set.Listen != "" {
		if _, err := d.open(api.S3Listen{Listen: set.Listen, TLS: set.TLS}); err != nil {
			d.n.log.Error("S3 door not opened", "listen", set.Listen, "err", err)
			d.set(api.S3Door{Problem: err.Error()})
		}
	}
	<-ctx.Done()
	d.close()
}

// open has the door answer; it is open when this returns.
func (d *s3Door) open(at api.S3Listen) (api.S3Door, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.end != nil {
		return d.state, fault.New(fault.Exists, "open S3 door: it is open at %s", d.state.Endpoint)
	}
	door, state, err := d.hang(at)
	if err != nil {
		return d.state, err
	}
	return d.serve(door, state)
}

// hang makes the door, and says how it will be once it is open.
func (d *s3Door) hang(at api.S3Listen) (*s3.Door, api.S3Door, error) {
	if at.Listen == "" {
		at.Listen = api.S3At
	}
	set, state := d.n.settings.S3, api.S3Door{Open: true, Endpoint: "http://" + at.Listen}
	host, _, err := net.SplitHostPort(at.Listen)
	if err != nil {
		return nil, state, fault.New(fault.BadRequest, "open S3 door: %w", err)
	}
	if ip := net.ParseIP(host); !at.TLS && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, state, fault.New(fault.BadRequest, "open S3 door: %s isn't a loopback address: it needs TLS", at.Listen)
	}
	c := s3.Config{
		Files: d.n.buys.files, Index: d.n.buys.index, Keys: d.keys, Owner: d.n.address(), Listen: at.Listen,
		Region: set.Region, Domain: set.Domain, Website: set.Website, Metrics: d.seen, Log: d.n.log,
	}
	if at.TLS {
		if c.Cert, c.Key, state.Certificate, err = d.certificate(host); err != nil {
			return nil, state, err
		}
		state.Endpoint = "https://" + at.Listen
	}
	door, err := s3.New(c)
	if err != nil {
		return nil, state, err
	}
	state.Region, state.Domain, state.Website = door.Region(), door.Domain(), door.Website()
	return door, state, nil
}

// certificate is the configured one, or one that the door has signed itself.
func (d *s3Door) certificate(host string) (cert, key, own string, err error) {
	set := d.n.settings.S3
	if set.Certificate != "" {
		return set.Certificate, set.Key, "", nil
	}
	dir := filepath.Join(d.n.dir, "data")
	cert, key = filepath.Join(dir, "s3-cert.pem"), filepath.Join(dir, "s3-key.pem")
	domain := set.Domain
	if domain == "" {
		domain = s3.DefaultDomain
	}
	names := []string{"localhost", "127.0.0.1", "::1", host, domain, "*." + domain}
	website := set.Website
	if website == "" {
		website = s3.DefaultWebsite
	}
	names = append(names, "*."+website)
	if name, err := os.Hostname(); err == nil {
		names = append(names, name)
	}
	return cert, key, cert, s3.SelfSigned(cert, key, names, time.Now())
}

// s3Role shows the door to the API.
type s3Role struct{ d *s3Door }

func (r s3Role) Door(context.Context) (api.S3Door, error) {
	return r.d.shown(), nil
}

func (r s3Role) Open(_ context.Context, at api.S3Listen) (api.S3Door, error) { return r.d.open(at) }

func (r s3Role) Close(context.Context) (api.S3Door, error) {
	r.d.close()
	return api.S3Door{}, nil
}

func (r s3Role) Keys(context.Context) (api.S3Keys, error) {
	out := api.S3Keys{Keys: []api.S3Key{}}
	for _, k := range r.d.keys.All() {
		out.Keys = append(out.Keys, shownKey(k))
	}
	return out, nil
}

// shownKey is a key without its secret.
func shownKey(k s3.Key) api.S3Key {
	l := k.Capability.Limits()
	out := api.S3Key{Access: k.Access, Name: k.Name, Created: k.Created, Bucket: l.Bucket, Prefix: l.Prefix, Operations: []string{}}
	if l.Ops != 0 {
		out.Operations = strings.Split(l.Ops.String(), ",")
	}
	if l.Until != math.MaxInt64 {
		at := time.Unix(l.Until, 0).UTC()
		out.Expires = &at
	}
	if l.Quota != math.MaxInt64 {
		out.Quota = &l.Quota
	}
	return out
}

func (r s3Role) AddKey(_ context.Context, wish api.S3KeyWish) (api.S3Key, error) {
	if wish.Name != "" {
		if _, _, err := r.d.keys.Secret(wish.Name); err == nil {
			return api.S3Key{}, fault.New(fault.Exists, "add key: there is one of the name %s", wish.Name)
		}
	}
	var caveats []capability.Caveat
	if wish.Bucket != "" {
		caveats = append(caveats, capability.Caveat{Kind: capability.InBucket, Text: wish.Bucket})
	}
	if wish.Prefix != "" {
		caveats = append(caveats, capability.Caveat{Kind: capability.Below, Text: wish.Prefix})
	}
	if wish.ReadOnly {
		caveats = append(caveats, capability.Caveat{Kind: capability.Only, Number: int64(capability.ReadOnly)})
	}
	if wish.WriteOnly {
		caveats = append(caveats, capability.Caveat{Kind: capability.Only, Number: int64(capability.Write)})
	}
	if !wish.Expires.IsZero() {
		if wish.Expires.Before(time.Now()) {
			return api.S3Key{}, fault.New(fault.BadRequest, "add key: it would have ended at %s", wish.Expires.Format(time.RFC3339))
		}
		caveats = append(caveats, capability.Caveat{Kind: capability.Until, Number: wish.Expires.Unix()})
	}
	if wish.Quota > 0 {
		caveats = append(caveats, capability.Caveat{Kind: capability.Quota, Number: wish.Quota})
	}
	key, secret, err := r.d.keys.Add(wish.Name, caveats...)
	if err != nil {
		return api.S3Key{}, err
	}
	out := shownKey(key)
	out.Secret = secret.Word()
	return out, nil
}

func (r s3Role) Secret(ctx context.Context, which string) (api.S3Key, error) {
	name := which
	if name == "" {
		name = usualKey
	}
	key, secret, err := r.d.keys.Secret(name)
	if which == "" && fault.CodeOf(err) == fault.NotFound {
		return r.AddKey(ctx, api.S3KeyWish{Name: usualKey})
	}
	if err != nil {
		return api.S3Key{}, err
	}
	out := shownKey(key)
	out.Secret = secret.Word()
	return out, nil
}

func (r s3Role) RemoveKey(_ context.Context, access string) error { return r.d.keys.Remove(access) }

// check says which of the door's settings is wrong.
func (s S3Settings) check() error {
	if (s.Certificate == "") != (s.Key == "") {
		return errors.New("s3.certificate and s3.key belong together")
	}
	if s.Listen == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(s.Listen); err != nil {
		return fmt.Errorf("s3.listen: %w", err)
	}
	return nil
}
