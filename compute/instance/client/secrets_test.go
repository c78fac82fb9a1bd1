package client_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hearth/compute/instance/client"
	"hearth/compute/sandbox"
	"hearth/compute/wire"
	"hearth/core/fault"
	"hearth/core/instance"
	"hearth/core/money"
	"hearth/p2p"
)

const hidden = "correct horse battery staple"

var twoSecrets = []instance.Secret{{Name: "key", Value: []byte(hidden)}, {Name: "ca.pem", Value: bytes.Repeat([]byte("cert"), 4<<10)}}

func (w *town) createSecret(name string) client.Instance {
	w.t.Helper()
	i, err := w.x.Create(w.t.Context(), name, "app:1", "hearth1host", w.spec(), money.Ember, twoSecrets...)
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

// has says whether an instance that the engine runs has its secrets.
func (w *town) has(i client.Instance) (yes bool) {
	w.t.Helper()
	err := w.engine.with(hex.EncodeToString(i.ID[:]), func(b *box) {
		yes = b.state.Phase == sandbox.Running && len(b.spec.Secrets) == 2
		for _, s := range twoSecrets {
			yes = yes && bytes.Equal(b.spec.Secrets[s.Name], s.Value)
		}
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return yes
}

// crash takes the host's machine down, with all that runs on it, and up again.
func (w *town) crash(i client.Instance) {
	w.t.Helper()
	w.down()
	if err := w.engine.with(hex.EncodeToString(i.ID[:]), func(b *box) { b.state.Phase, b.state.Reason = sandbox.Ended, sandbox.Lost }); err != nil {
		w.t.Fatal(err)
	}
	w.open(w.dir)
}

func TestSecretsComeToTheInstanceAndToNoDisk(t *testing.T) {
	w := newTown(t)
	i := w.createSecret("web")
	if !w.has(i) {
		t.Fatal("it hasn't its secrets")
	}
	r := instance.Roster{{ID: i.ID, Spec: i.Spec.Digest(), Units: i.Spec.Units()}}
	if w.desk.root != r.Root() || bytes.Contains(i.Spec.Encode(), []byte("key")) {
		t.Error("what is signed isn't the commitment alone")
	}
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, part := range []string{hidden, hex.EncodeToString([]byte(hidden)), "Y29ycmVjdCBob3JzZ"} {
			if bytes.Contains(b, []byte(part)) {
				t.Errorf("%s of the host has it", path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if names, _ := w.Names(t.Context(), ""); !slices.Equal(names, []string{"instances/web", "secrets/web"}) {
		t.Errorf("%q are kept", names)
	}
	want(t, "stop", w.x.Stop(t.Context(), "web", 0), "")
	want(t, "start", w.x.Start(t.Context(), "web"), "")
	if !w.has(i) {
		t.Error("it hasn't its secrets any more")
	}
	want(t, "remove", w.x.Remove(t.Context(), "web", 0), "")
	if names, _ := w.Names(t.Context(), ""); len(names) != 0 {
		t.Errorf("%q are left", names)
	}
}

// A host's program is updated while instances run: nobody is asked for anything. What it
// starts after that it asks for.
func TestAHostThatOnlyStartsAgainNeedsNoSecrets(t *testing.T) {
	w := newTown(t)
	i := w.createSecret("web")
	w.open(w.dir)
	if s := w.stands("web", "running"); s.Reason != "" || !w.has(i) {
		t.Errorf("%+v", s)
	}
	want(t, "stop", w.x.Stop(t.Context(), "web", 0), "")
	if s := w.stands("web", "exited"); s.Reason != sandbox.Stopped {
		t.Errorf("%+v", s)
	}
	want(t, "start", w.x.Start(t.Context(), "web"), "")
	if !w.has(i) {
		t.Error("it hasn't its secrets any more")
	}
}

// Without them it would do something else than it was made for.
func TestWhatWasLostWithItsSecretsWaitsForThem(t *testing.T) {
	w := newTown(t)
	i := w.createSecret("web")
	plain := w.create("db")
	w.crash(i)
	for range 3 {
		looked := w.engine.looked.Load()
		until(t, "the host has looked", func() bool { return w.engine.looked.Load() > looked+2 })
		if s := w.stands("web", "exited"); s.Reason != "waits for its secrets: hearth instance start web" {
			t.Fatalf("%+v", s)
		}
	}
	asked := w.images.asked.Load()
	want(t, "sign time", w.x.Holds(t.Context(), pair{w}, 10*time.Minute), "") // the account's node gives them by itself
	w.stands("web", "running")
	if !w.has(i) || w.images.asked.Load() != asked+1 {
		t.Errorf("it hasn't its secrets; the image was asked for %d times", w.images.asked.Load()-asked)
	}
	w.crash(plain)
	w.stands("db", "running") // it needs none
	w.crash(i)
	w.stands("web", "exited")
	want(t, "start", w.x.Start(t.Context(), "web"), "")
	if s := w.stands("web", "running"); s.Reason != "" || !w.has(i) {
		t.Errorf("%+v", s)
	}
}

// Who gives secrets again by itself sends no image with them: a host that has lost
// nothing could be paid for it again and again.
func TestOnlySecretsAreGivenAgain(t *testing.T) {
	w := newTown(t)
	i := w.createSecret("web")
	want(t, "stop", w.x.Stop(t.Context(), "web", 0), "")
	w.crash(i)
	w.stands("web", "exited")
	w.images.forget()
	sent := w.desk.in
	want(t, "sign time", w.x.Holds(t.Context(), pair{w}, 10*time.Minute), "")
	if s := w.stands("web", "exited"); s.Reason == "" || w.desk.in-sent > 64<<10 {
		t.Errorf("%d bytes were sent, %+v", w.desk.in-sent, s)
	}
	want(t, "start", w.x.Start(t.Context(), "web"), "")
	w.stands("web", "running")
}

// A host gets what was signed for, once, and nothing where nothing was.
func TestAHostGetsSecretsOnce(t *testing.T) {
	w := newTown(t)
	w.createSecret("web")
	w.create("db")
	for what, tt := range map[string]struct {
		name        string
		asks, given int
	}{"once": {"web", 1, 1}, "again": {"web", 2, 1}, "of one without": {"db", 1, 0}} {
		given := make(chan int, 1)
		w.nodes[1].Handle(client.Protocol, func(_ context.Context, s p2p.Stream) {
			defer s.Close()
			n := 0
			defer func() { given <- n }()
			var o wire.Order
			if p2p.ReadFrame(s, &o, p2p.MaxFrame) != nil {
				return
			}
			for range tt.asks {
				var have wire.Have
				if p2p.WriteFrame(s, &wire.Told{Answer: &wire.Told_Need{Need: &wire.Need{Secrets: true, Most: instance.MaxSecretsCoded}}}) != nil || p2p.ReadFrame(s, &have, p2p.MaxFrame) != nil {
					return
				}
				b := make([]byte, have.Size)
				for at := 0; at < len(b); {
					k, err := s.Read(b[at:])
					if at += k; err != nil {
						return
					}
				}
				if s, err := instance.DecodeSecrets(b); err == nil && len(s.Files) == 2 {
					n++
				}
			}
			_ = p2p.WriteFrame(s, &wire.Told{})
		})
		err := w.x.Start(t.Context(), tt.name)
		if n := <-given; n != tt.given || (err == nil) != (tt.asks == tt.given) {
			t.Errorf("%s: %d were given, %v", what, n, err)
		}
		w.nodes[1].Handle(client.Protocol, w.h.Serve)
	}
}

// A host runs an instance with what was signed for, and keeps no more than it must.
func TestAHostTakesOnlySecretsThatWereSigned(t *testing.T) {
	w := newTown(t)
	i := w.createSecret("web")
	want(t, "stop", w.x.Stop(t.Context(), "web", 0), "")
	w.open(w.dir)
	other := instance.Secrets{Files: []instance.Secret{{Name: "key", Value: []byte("forged")}}}
	for what, tt := range map[string]struct {
		size uint64
		b    []byte
		code fault.Code
	}{
		"others": {uint64(len(other.Encode())), other.Encode(), fault.BadRequest}, "none at all": {0, nil, fault.BadFrame},
		"rubbish": {3, []byte("\x01ab"), fault.BadFrame}, "more than are taken": {instance.MaxSecretsCoded + 1, nil, ""},
	} {
		s, err := w.nodes[0].OpenBulk(t.Context(), pair{w}.Peer(), client.Protocol)
		if err != nil {
			t.Fatal(err)
		}
		s.SetDeadline(time.Now().Add(20 * time.Second))
		g, k, sig := pair{w}.Grant()
		if err := (pair{w}).Pay(t.Context(), 1<<20, 0); err != nil {
			t.Fatal(err)
		}
		var told wire.Told
		order := &wire.Order{Lease: 7, Grant: &wire.Grant{Lease: g.Lease, Peer: g.Peer[:], Until: g.Until, Key: k, Sig: sig}, Ask: &wire.Order_Start{Start: &wire.Start{Id: i.ID[:]}}}
		if p2p.WriteFrame(s, order) != nil || p2p.ReadFrame(s, &told, p2p.MaxFrame) != nil || !told.GetNeed().GetSecrets() || len(told.GetNeed().GetDigest()) != 0 {
			t.Fatalf("%s: the host asks for %v", what, &told)
		}
		if err := p2p.WriteFrame(s, &wire.Have{Size: tt.size}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(tt.b); err != nil {
			t.Fatal(err)
		}
		var answer wire.Told
		err = p2p.ReadFrame(s, &answer, p2p.MaxFrame)
		if s.Close(); fault.Code(answer.Code) != tt.code || (err == nil) != (tt.code != "") || strings.Contains(answer.Reason, "forged") {
			t.Errorf("%s: %v, %v", what, &answer, err)
		}
		if w.has(i) {
			t.Errorf("%s: it runs", what)
		}
	}
}

func TestSecretsThatNobodyTakesReserveNothing(t *testing.T) {
	w := newTown(t)
	for what, tt := range map[string]struct {
		files []instance.Secret
		code  fault.Code
	}{
		"twice": {[]instance.Secret{{Name: "a"}, {Name: "a"}}, fault.BadRequest}, "elsewhere": {[]instance.Secret{{Name: "../a"}}, fault.BadName},
		"too large": {[]instance.Secret{{Name: "a", Value: make([]byte, instance.MaxSecret+1)}}, fault.TooLarge},
	} {
		_, err := w.x.Create(t.Context(), "web", "app:1", "hearth1host", w.spec(), money.Max, tt.files...)
		want(t, what, err, tt.code)
	}
	long := w.spec()
	long.Args = slices.Repeat([]string{strings.Repeat("x", 60)}, 1024)
	_, err := w.x.Create(t.Context(), "long", "app:1", "hearth1host", long, money.Max)
	want(t, "a spec whose record couldn't be read", err, fault.TooLarge)
	if names, _ := w.Names(t.Context(), ""); len(names) != 0 || w.desk.signed != 0 {
		t.Errorf("%q are kept, %d signed", names, w.desk.signed)
	}
}
