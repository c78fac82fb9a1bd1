package node

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"hearth/api"
	"hearth/compute/registry"
	"hearth/core/fault"
	"hearth/storage/client"
	"hearth/storage/index"
)

// ImageSettings are those of the door for container images.
type ImageSettings struct {
	Listen string `toml:"listen"` // loopback address with a port; empty: it stays closed
}

// ImagesListen is where the door for images is when nobody says where.
const ImagesListen = "127.0.0.1:9480"

// check says which of the door's settings is wrong.
func (s ImageSettings) check() error {
	if s.Listen == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return fmt.Errorf("images.listen: %w", err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("images.listen: %q isn't a loopback address: passwords go over it in the clear", s.Listen)
	}
	return nil
}

// imageBucket is where an account's images are kept: objects like any, so that they
// come back with the phrase.
const imageBucket = "hearth-images"

// imageDoor keeps the account's images, and opens the door that docker and its like
// push to.
type imageDoor struct {
	n        *Node
	images   *registry.Registry
	password string
	pause    time.Duration // until the door is tried again

	mu    sync.Mutex
	state api.ImageDoor
}

func newImageDoor(n *Node) (*imageDoor, error) {
	figures := registry.NewMetrics()
	if err := n.metrics.Register(figures); err != nil {
		return nil, fmt.Errorf("door for images: %w", err)
	}
	password, err := apiToken(filepath.Join(n.dir, "images.token"))
	if err != nil {
		return nil, err
	}
	r, err := registry.New(registry.Config{
		Objects: imageObjects{n.buys}, Dir: filepath.Join(n.dir, "data", "images", "uploads"), Metrics: figures, Log: n.log,
	})
	if err != nil {
		return nil, err
	}
	return &imageDoor{n: n, images: r, password: password, pause: 10 * time.Second, state: api.ImageDoor{User: registry.User}}, nil
}

// run keeps the door open until ctx ends. That it can't be opened keeps nothing else
// from working: it is said once, and tried until it can.
func (d *imageDoor) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { d.images.Run(ctx) })
	listen := d.n.settings.Images.Listen
	if listen == "" {
		return
	}
	for said := ""; ; {
		door, err := d.images.Open(listen, d.password)
		if err == nil {
			said = ""
			d.n.log.Info("door for images open", "address", door.Address())
			d.became(api.ImageDoor{Open: true, Address: door.Address(), User: registry.User})
			if err = door.Serve(ctx); err == nil {
				return
			}
		}
		if err.Error() != said {
			said = err.Error()
			d.n.log.Warn("door for images not open; it is tried again", "listen", listen, "err", err)
		}
		d.became(api.ImageDoor{User: registry.User, Problem: err.Error()})
		select {
		case <-ctx.Done():
			return
		case <-time.After(d.pause):
		}
	}
}

func (d *imageDoor) became(s api.ImageDoor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = s
}

// imageObjects keeps images as objects of the account.
type imageObjects struct{ b *buying }

func (o imageObjects) ref(key string) index.Ref { return index.Ref{Bucket: imageBucket, Key: key} }

func (o imageObjects) Put(ctx context.Context, key, kind string, size int64, src io.Reader) error {
	if err := o.b.index.MakeBucket(ctx, imageBucket); err != nil && fault.CodeOf(err) != fault.Exists {
		return err
	}
	_, err := o.b.files.Put(ctx, o.ref(key), src, client.PutOptions{Type: kind, Size: max(size, 0)})
	return err
}

func (o imageObjects) Get(ctx context.Context, key string, off, n int64, w io.Writer) error {
	_, err := o.b.files.Get(ctx, o.ref(key), w, client.GetOptions{Offset: off, Length: n})
	return err
}

func (o imageObjects) Head(ctx context.Context, key string) (registry.Object, error) {
	f, err := o.b.index.Head(ctx, o.ref(key))
	return imageObject(f), err
}

func imageObject(f index.Object) registry.Object {
	return registry.Object{Key: f.Key, Type: f.Type, Size: f.Size, Created: time.Unix(f.Created, 0)}
}

func (o imageObjects) Drop(ctx context.Context, key string) error {
	_, err := o.b.files.Remove(ctx, o.ref(key), index.RemoveOptions{})
	return err
}

func (o imageObjects) List(ctx context.Context, prefix, after string) ([]registry.Object, string, error) {
	page, err := o.b.index.List(ctx, imageBucket, index.Listing{Prefix: prefix, After: after})
	if fault.CodeOf(err) == fault.NotFound {
		return nil, "", nil // nothing was pushed yet
	}
	out := make([]registry.Object, len(page.Objects))
	for i, f := range page.Objects {
		out[i] = imageObject(f)
	}
	return out, page.Next, err
}

// imageRole shows the images to the API.
type imageRole struct{ d *imageDoor }

func (r imageRole) Images(ctx context.Context) (api.Images, error) {
	list, err := r.d.images.Images(ctx)
	out := api.Images{Images: make([]api.Image, len(list))}
	for i, m := range list {
		out.Images[i] = api.Image{
			Name: m.Name, Tags: append([]string{}, m.Tags...), Digest: m.Digest.String(), Size: m.Size,
			Platforms: append([]string{}, m.Platforms...), Pushed: m.Pushed.UTC(),
		}
	}
	return out, err
}

func (r imageRole) Remove(ctx context.Context, name string) error {
	return r.d.images.Remove(ctx, name)
}

func (r imageRole) Door(context.Context) (api.ImageDoor, error) {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	return r.d.state, nil
}

func (r imageRole) Login(ctx context.Context) (api.ImageDoor, error) {
	door, err := r.Door(ctx)
	switch {
	case err != nil:
		return door, err
	case door.Problem != "":
		return door, fault.New(fault.AddressTaken, "the door for images isn't open: %s", door.Problem)
	case !door.Open:
		return door, fault.New(fault.NotFound, "the door for images isn't open: the setting [Images] listen in config.toml has no address")
	}
	door.Password = r.d.password
	return door, nil
}

func (r imageRole) Registry() http.Handler { return r.d.images.Handler() }
