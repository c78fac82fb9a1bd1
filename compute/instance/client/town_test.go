package client_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/crypto/ssh"

	"hearth/compute/image"
	"hearth/compute/instance/client"
	"hearth/compute/instance/host"
	"hearth/compute/sandbox"
	"hearth/compute/sandbox/logfile"
	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/instance"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/p2p"
)

const chainID = "hearth-00000000000000000000"

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), n))
}

// town is one client and one host, each on a node of its own, with engine, images and
// money in memory.
type town struct {
	t      *testing.T
	x      *client.Client
	h      *host.Host
	engine *engine
	images *images
	desk   *desk
	nodes  [2]*p2p.Node
	visits atomic.Int32  // streams at the host
	dir    string        // the host's
	down   func()        // takes the host's program down
	trust  time.Duration // that the host waits for a payment
	pause  time.Duration
	held   atomic.Bool  // by the host's owner
	later  atomic.Int64 // the host's clock, nanoseconds ahead

	mu      sync.Mutex
	records map[string][]byte
}

func newTown(t *testing.T) *town { t.Helper(); return newTownOf(t, 0) }

// newTownOf makes a town whose host waits so long for bytes to go.
func newTownOf(t *testing.T, pause time.Duration) *town {
	t.Helper()
	w := &town{t: t, pause: pause, engine: &engine{all: map[string]*box{}}, records: map[string][]byte{}, desk: &desk{covered: make(chan struct{})}}
	w.images = &images{root: t.TempDir(), blobs: map[digest.Digest][]byte{}, unpacked: map[digest.Digest]bool{}}
	for i := range w.nodes {
		n, err := p2p.New(p2p.Config{Key: key(byte(i + 1)), Network: chainID, Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		w.nodes[i] = n
	}
	w.open(t.TempDir())
	w.x = w.device()
	return w
}

// device is one of the account's.
func (w *town) device() *client.Client {
	w.t.Helper()
	x, err := client.New(client.Config{Market: w, Records: w, Images: w.images, Dialer: w.nodes[0], Pause: 5 * time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	return x
}

// open starts the host's program, again where it runs.
func (w *town) open(dir string) {
	w.t.Helper()
	if w.down != nil {
		w.down()
	}
	w.dir = dir
	var err error
	w.h, err = host.Open(host.Config{
		Dir: dir, Engine: w.engine, Images: w.images, Meter: w.desk, Leases: w.desk, Time: w.desk, ChainID: chainID, Key: key(2),
		All: whole, Look: 5 * time.Millisecond, Beat: 20 * time.Millisecond, Pause: w.pause, Patience: w.trust, Rule: w.rule,
		Now: func() time.Time { return time.Now().Add(time.Duration(w.later.Load())) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.h.Run(ctx) }()
	w.down = func() { cancel(); <-done }
	w.t.Cleanup(w.down)
	w.nodes[1].Handle(host.Protocol, func(ctx context.Context, s p2p.Stream) { w.visits.Add(1); w.h.Serve(ctx, s) })
}

// whole is what the host's machine has.
var whole = quote.Units{2 * quote.GiB, 1 << 30, 1 << 30}

// rule is what the host's owner allows.
func (w *town) rule() host.Rule {
	r := host.Rule{All: whole, Closed: w.held.Load()}
	if r.Closed {
		r.Held = "the owner is here"
	}
	return r
}

// Open knows machines that cost an ember a month.
func (w *town) Open(_ context.Context, _ string, _ quote.Units, most money.Amount) (client.Pair, error) {
	if most < money.Ember {
		return nil, fault.New(fault.PriceTooHigh, "it costs %s", money.Ember)
	}
	return pair{w}, nil
}

func (w *town) Lease(context.Context, uint64) (client.Pair, error) {
	if w.desk.gone() {
		return nil, fault.New(fault.NoLease, "lease 7 has ended")
	}
	return pair{w}, nil
}

func (w *town) Keep(_ context.Context, name string, b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records[name] = b
	return nil
}

func (w *town) Read(_ context.Context, name string, to io.Writer) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, ok := w.records[name]
	if !ok {
		return fault.New(fault.NotFound, "%s isn't there", name)
	}
	_, err := to.Write(b)
	return err
}

func (w *town) Drop(_ context.Context, name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.records, name)
	return nil
}

func (w *town) Names(_ context.Context, prefix string) (names []string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := range w.records {
		if strings.HasPrefix(n, prefix) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names, nil
}

// desk is the money: what is signed and paid.
type desk struct {
	mu            sync.Mutex
	units         quote.Units
	root          [32]byte
	paid, in, out uint64
	unpaid, ended bool
	closing       bool
	lost          bool   // the answer to what is signed
	signing       func() // once, before both have signed what the host says is staged
	covered       chan struct{}
	signed        int
	late          time.Duration // that each payment takes
}

func (d *desk) gone() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.ended }

func (d *desk) Take(_, in, out uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.in+d.out+in+out > d.paid {
		return fault.New(fault.Unpaid, "%d bytes used, %d paid", d.in+d.out, d.paid)
	}
	d.in += in
	d.out += out
	return nil
}

func (d *desk) Covered(uint64) <-chan struct{} { d.mu.Lock(); defer d.mu.Unlock(); return d.covered }

func (d *desk) Allowed(_ context.Context, kind quote.Kind, lease uint64, k ed25519.PublicKey) error {
	if kind != quote.Compute || lease != 7 || !k.Equal(key(9).Public()) {
		return fault.New(fault.MandateRefused, "not the client's")
	}
	return nil
}

func (d *desk) Runs(context.Context, uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unpaid {
		return fault.New(fault.Unpaid, "its signed time has ended")
	}
	return nil
}

func (d *desk) Takes(context.Context, uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closing {
		return fault.New(fault.LeaseClosed, "it is closing")
	}
	return nil
}

func (d *desk) hook() func() {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.signing
	d.signing = nil
	return f
}

func (d *desk) pay(unpaid bool) { d.mu.Lock(); defer d.mu.Unlock(); d.unpaid = unpaid }

// pair is the bargain as its client has it.
type pair struct{ w *town }

func (pair) Lease() uint64    { return 7 }
func (pair) Host() string     { return "hearth1host" }
func (p pair) Peer() p2p.Peer { return p2p.Peer{Key: p.w.nodes[1].Key(), Addrs: p.w.nodes[1].Addrs()} }
func (pair) Chunk() uint64    { return 256 << 10 }
func (pair) Until() time.Time { return time.Now().Add(10 * time.Minute) }

func (p pair) Grant() (g grant.Grant, k ed25519.PublicKey, sig []byte) {
	g = grant.Grant{Lease: 7, Peer: [32]byte(p.w.nodes[0].Key()), Until: time.Now().Unix() + 3600}
	return g, key(9).Public().(ed25519.PublicKey), g.Sign(chainID, key(9))
}

func (p pair) Pay(_ context.Context, in, out uint64) error {
	time.Sleep(p.w.desk.late)
	p.w.desk.mu.Lock()
	defer p.w.desk.mu.Unlock()
	p.w.desk.paid += in + out
	close(p.w.desk.covered)
	p.w.desk.covered = make(chan struct{})
	return nil
}

func (pair) Over(uint64, uint64)          {}
func (pair) Resync(context.Context) error { return nil }

func (p pair) Reserved(context.Context) (quote.Units, [32]byte, error) {
	p.w.desk.mu.Lock()
	defer p.w.desk.mu.Unlock()
	return p.w.desk.units, p.w.desk.root, nil
}

// Reserve is what both sides' markets do.
func (p pair) Reserve(_ context.Context, units quote.Units, root [32]byte) error {
	if err := p.w.h.Covers(7, units, root); err != nil {
		return err
	}
	if signing := p.w.desk.hook(); signing != nil {
		signing()
	}
	p.w.desk.mu.Lock()
	p.w.desk.units, p.w.desk.root = units, root
	p.w.desk.signed++
	lost := p.w.desk.lost
	p.w.desk.mu.Unlock()
	if err := p.w.h.Commit(7, units, root); err != nil || !lost {
		return err
	}
	return fault.New(fault.HostUnreachable, "the answer was lost")
}

// images hands out one folder, for whose image the client's blobs are needed.
type images struct {
	root  string
	blobs map[digest.Digest][]byte
	asked atomic.Int32 // times that an image was wanted

	hold   chan struct{} // if set, blobs wait for it
	refuse error         // if set, what is wrong with every image from its beginning on

	mu       sync.Mutex
	held     int
	unpacked map[digest.Digest]bool
}

func (i *images) Blob(ctx context.Context, d digest.Digest) (io.ReadCloser, int64, error) {
	if i.hold != nil {
		select {
		case <-i.hold:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	b, ok := i.blobs[d]
	if !ok {
		return nil, 0, fault.New(fault.NotFound, "there is no blob %s", d)
	}
	return io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
}

func (i *images) add(b []byte) [32]byte {
	i.blobs[digest.FromBytes(b)] = b
	return sha256.Sum256(b)
}

func (i *images) Get(ctx context.Context, d digest.Digest, from image.Source) (image.Image, func(), error) {
	i.asked.Add(1)
	i.mu.Lock()
	unpacked := i.unpacked[d]
	i.mu.Unlock()
	if unpacked {
		return i.give(d)
	}
	r, err := from.Blob(ctx, d)
	if err != nil {
		return image.Image{}, nil, err
	}
	if i.refuse != nil {
		_, err := io.ReadFull(r, make([]byte, 100))
		return image.Image{}, nil, errors.Join(i.refuse, err, r.Close())
	}
	b, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return image.Image{}, nil, err
	}
	if digest.FromBytes(b) != d {
		return image.Image{}, nil, fault.New(fault.BadImage, "its bytes have another digest")
	}
	return i.give(d)
}

func (i *images) give(d digest.Digest) (image.Image, func(), error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.unpacked[d] = true
	i.held++
	return image.Image{Digest: d, Rootfs: i.root, Config: oci.ImageConfig{Cmd: []string{"work"}}}, func() { i.mu.Lock(); i.held--; i.mu.Unlock() }, nil
}

func (i *images) forget() { i.mu.Lock(); defer i.mu.Unlock(); clear(i.unpacked) }

func (i *images) inUse() int { i.mu.Lock(); defer i.mu.Unlock(); return i.held }

// shortPause is short for bytes to wait, and long for a busy machine.
const shortPause = 1500 * time.Millisecond

// engine runs nothing and says that it does.
type engine struct {
	cut    atomic.Int32 // programs whose caller has gone
	looked atomic.Int32 // times that all were listed
	serves string       // the address of what listens inside
	mu     sync.Mutex
	all    map[string]*box
}

type box struct {
	spec  sandbox.Spec
	state sandbox.State
}

func (e *engine) with(id string, f func(*box)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.all[id]
	if b == nil {
		return fault.New(fault.NotFound, "%s isn't there", id)
	}
	f(b)
	return nil
}

func (e *engine) Start(_ context.Context, id string, s sandbox.Spec) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all[id] = &box{s, sandbox.State{ID: id, Phase: sandbox.Running, Started: time.Now()}}
	return nil
}

func (e *engine) Stop(_ context.Context, id string, _ time.Duration) (s sandbox.State, err error) {
	err = e.with(id, func(b *box) {
		b.state.Phase, b.state.Reason, b.state.Exit = sandbox.Ended, sandbox.Stopped, 143
		s = b.state
	})
	return s, err
}

func (e *engine) Remove(_ context.Context, id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.all, id)
	return nil
}

// Exec knows a few programs.
func (e *engine) Exec(ctx context.Context, _ string, x sandbox.Exec, s sandbox.Streams) (int, error) {
	switch x.Args[0] {
	case "cat":
		_, err := io.Copy(s.Out, s.In)
		return 0, err
	case "id":
		_, err := fmt.Fprintf(s.Out, "%d:%d", *x.UID, *x.GID)
		return 0, err
	case "late": // to its input
		time.Sleep(5 * shortPause)
		_, err := io.Copy(s.Out, s.In)
		return 0, err
	case "fail":
		_, err := io.WriteString(s.Err, "it failed\n")
		return 3, err
	case "size":
		z := <-s.Resize
		_, err := io.WriteString(s.Out, strings.Repeat("x", int(z.Rows)))
		return 0, err
	case "/bin/sh":
		_, err := fmt.Fprintf(s.Out, "%q on %v %dx%d", x.Args[1:], x.TTY, x.Rows, x.Cols)
		return 7, err
	case "pour": // without an end
		_, err := io.Copy(s.Out, endless{})
		e.cut.Add(1)
		return 0, err
	case "wait":
		_, _ = io.WriteString(s.Out, "waiting\n")
		<-ctx.Done() // and no input is taken
		e.cut.Add(1)
		return 0, ctx.Err()
	}
	return 0, fault.New(fault.BadRequest, "no program %q", x.Args[0])
}

func (e *engine) Logs(context.Context, string, sandbox.LogOptions) (*logfile.Reader, error) {
	return nil, fault.New(fault.NotFound, "it has put out nothing")
}

func (e *engine) Stats(context.Context, string) (sandbox.Usage, error) {
	return sandbox.Usage{CPU: time.Second, Memory: 1 << 20, Pids: 2}, nil
}

// Dial knows port 8080, where serves listens, port 9, where nobody does, and others that
// say the first five bytes again.
func (e *engine) Dial(ctx context.Context, _ string, port uint16) (net.Conn, error) {
	switch port {
	case 8080:
		return new(net.Dialer).DialContext(ctx, "tcp", e.serves)
	case 9: // as keepers say
		return nil, fault.New(fault.HostUnreachable, "dial x: port 9: connection was refused")
	}
	a, b := net.Pipe()
	go func() {
		_, _ = io.Copy(b, io.LimitReader(b, 5))
		b.Close()
	}()
	return a, nil
}

func (e *engine) Pause(_ context.Context, id string) error {
	return e.with(id, func(b *box) { b.state.Phase = sandbox.Paused })
}

func (e *engine) Resume(_ context.Context, id string) error {
	return e.with(id, func(b *box) { b.state.Phase = sandbox.Running })
}

func (e *engine) List(context.Context) (out []sandbox.State, err error) {
	e.looked.Add(1)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range e.all {
		out = append(out, b.state)
	}
	return out, nil
}

func (w *town) spec() instance.Spec {
	return instance.Spec{Image: w.images.add(bytes.Repeat([]byte("image "), 100_000)), CPU: 500, Memory: 128 << 20, Disk: 64 << 20, Pids: 16}
}

func (w *town) create(name string) client.Instance {
	w.t.Helper()
	i, err := w.x.Create(w.t.Context(), name, "app:1", "hearth1host", w.spec(), money.Ember)
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

// stands waits until an instance stands so.
func (w *town) stands(name, state string) client.Standing {
	w.t.Helper()
	var last client.Standing
	until(w.t, name+" is "+state, func() bool {
		all, err := w.x.List(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		for _, s := range all {
			if s.Name == name {
				last = s
			}
		}
		return last.State == state
	})
	return last
}

// ssh logs in to an instance; end logs out.
func (w *town) ssh(name string) (c *ssh.Client, end func()) {
	w.t.Helper()
	told := w.stands(name, "running").SSHKey
	if len(told) != ed25519.PublicKeySize || told.Equal(w.nodes[1].Key()) {
		w.t.Fatalf("the host's key for SSH is %x, its identity %x", told, w.nodes[1].Key())
	}
	key, err := ssh.NewPublicKey(told)
	if err != nil {
		w.t.Fatal(err)
	}
	near, far := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- w.x.SSH(w.t.Context(), name, client.Streams{In: far, Out: far}); far.Close() }()
	conn, channels, requests, err := ssh.NewClientConn(near, name, &ssh.ClientConfig{User: "root", HostKeyCallback: ssh.FixedHostKey(key)})
	if err != nil {
		w.t.Fatal(err)
	}
	return ssh.NewClient(conn, channels, requests), func() {
		w.t.Helper()
		conn.Close()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func want(t *testing.T, what string, err error, code fault.Code) {
	t.Helper()
	if code == "" && err != nil || code != "" && fault.CodeOf(err) != code {
		t.Errorf("%s: %v, want %q", what, err, code)
	}
}
