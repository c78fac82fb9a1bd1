package weather

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hearth/core/money"
	"hearth/sdk"
)

// guest makes a machine of another account, which has some money and no files.
func (w *world) guest(t *testing.T) *second {
	t.Helper()
	return w.guestWith(t, 50*money.Ember)
}

func (w *world) guestWith(t *testing.T, with money.Amount) *second {
	t.Helper()
	base, err := os.MkdirTemp("", "weather-guest-") // a socket's path may not be long
	if err != nil {
		t.Fatal(err)
	}
	s := &second{t: t, dir: filepath.Join(base, "node")}
	t.Cleanup(func() {
		s.stop()
		os.RemoveAll(base)
	})
	if out, status := hearth(t, s.dir, "init", "--network", w.Network.String()); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	s.up()
	if with == 0 {
		return s
	}
	me, err := s.api.Node(within(t, patient))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.api.Send(within(t, patient), sdk.NewKey(), me.Account, with); err != nil {
		t.Fatal(err)
	}
	return s
}

// shareOut makes a link as a person does.
func shareOut(t *testing.T, dir string, args ...string) (serial, link string) {
	t.Helper()
	out, status := hearth(t, dir, append([]string{"share"}, args...)...)
	if status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	for line := range strings.Lines(out) {
		switch f := strings.Fields(line); {
		case len(f) == 2 && f[0] == "Serial":
			serial = f[1]
		case len(f) == 2 && f[0] == "Link":
			link = f[1]
		}
	}
	return serial, link
}

// Who has a link reads with a node, an account and leases of their own, while the
// owner is away, until the link is revoked.
func TestALinkIsReadOnOnesOwnLeasesWhileTheOwnerIsAway(t *testing.T) {
	t.Parallel()
	w := start(t, 5, twoOfFour)
	small, large := content(60, 20_000), content(61, 9*mib)
	w.put(t, "album/small", small)
	w.put(t, "album/sub/large", large)
	w.put(t, "secret", content(62, 20_000))
	owner := w.Client.Dir
	serial, album := shareOut(t, owner, "hearth://"+bucket+"/album/", "--prefix")
	_, one := shareOut(t, owner, "hearth://"+bucket+"/album/small", "--expires", "1h")
	if out, status := hearth(t, owner, "share", "ls"); status != 0 || strings.Count(out, "hearth://"+bucket+"/album/") != 2 {
		t.Errorf("exit %d: %s", status, out)
	}
	w.takesIn(t, owner)
	w.publishes(t, "album/small", small)
	paid := w.putAside(t, owner)
	g, poor := w.guest(t), w.guestWith(t, 0)
	w.logged(t)
	w.Client.Stop(30 * time.Second)

	into := t.TempDir()
	if out, status := hearth(t, g.dir, "get", album, into); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	for name, want := range map[string][]byte{"small": small, "sub/large": large} {
		if got, err := os.ReadFile(filepath.Join(into, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if out, status := hearth(t, g.dir, "get", one, filepath.Join(into, "one")); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	if got, err := os.ReadFile(filepath.Join(into, "one")); err != nil || !bytes.Equal(got, small) {
		t.Errorf("one: %d bytes, %v", len(got), err)
	}
	forged := album[:len(album)-20] + strings.Repeat("A", 20)
	if out, status := hearth(t, g.dir, "get", forged, into); status == 0 {
		t.Errorf("a forged link is read: %s", out)
	}
	if err := g.api.ReadLink(within(t, patient), album, "secret", &bytes.Buffer{}); err == nil {
		t.Error("a link reaches what it wasn't made for")
	}

	paid.isRead(t, poor, small)

	// The links are the account's: a machine made from the sheet lists and ends them.
	m := w.restore(t)
	m.up()
	if out, status := hearth(t, m.dir, "share", "ls"); status != 0 || strings.Count(out, "hearth://"+bucket+"/album/") != 3 {
		t.Errorf("after restore, exit %d: %s", status, out)
	}
	if out, status := hearth(t, m.dir, "share", "revoke", serial); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	if err := g.api.ReadLink(within(t, patient), album, "album/sub/large", &bytes.Buffer{}); err == nil {
		t.Error("a revoked link is read")
	}
	if out, status := hearth(t, g.dir, "get", one, filepath.Join(into, "again")); status != 0 {
		t.Errorf("the other link, exit %d: %s", status, out)
	}
	m.as(w).mustRead(t, "album/sub/large", large)
	paid.returns(t, m)
	w.run(t, w.Client)
	soon(t, patient, "hear of the link that was ended elsewhere", func() error {
		list, err := w.api.Shares(within(t, patient))
		if err == nil && len(list.Shares) != 1 {
			err = fmt.Errorf("there are %d links", len(list.Shares))
		}
		return err
	})
}
