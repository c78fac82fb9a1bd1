package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/share"
	"hearth/storage/index"
	"hearth/storage/remote"
)

// foreign is the first lease that isn't the fleet's own client's.
const foreign = 1000

// reading is a bargain of somebody else with a machine.
type reading struct {
	*bargain
	key ed25519.PrivateKey
}

func (r *reading) Lease() uint64 { return foreign + r.m.lease }

func (r *reading) Grant() (grant.Grant, ed25519.PublicKey, []byte) {
	g := grant.Grant{Lease: r.Lease(), Peer: [32]byte(r.f.key.Public().(ed25519.PublicKey)), Until: r.f.now().Unix() + 3600}
	return g, r.key.Public().(ed25519.PublicKey), g.Sign(chainID, r.key)
}

// readers gives leases of another account, and notes who was to pay.
type readers struct {
	f   *fleet
	key ed25519.PrivateKey
	by  func(*Purse)
}

func (r readers) Readers(_ context.Context, hosts []string, _ uint64, by *Purse) (out []remote.Pair, err error) {
	if r.by != nil {
		r.by(by)
	}
	for _, m := range r.f.machines {
		if slices.Contains(hosts, m.name) {
			out = append(out, &reading{&bargain{m, r.f}, r.key})
		}
	}
	return out, nil
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// owner shares, and guest has nothing but links.
func sharing(t *testing.T) (f *fleet, owner, guest *Client) {
	t.Helper()
	f = newFleet(t, 6, gib)
	owner = packing(t, f, filepath.Join(t.TempDir(), "index.db"), vfs.NewMem(), nil)
	guest = f.client(t, filepath.Join(t.TempDir(), "guest.db"), func(c *Config) {
		c.Readers = readers{f: f, key: newKey(t)}
		c.Class = erasure.Class{K: 2, N: 3}
	})
	return f, owner, guest
}

func (f *fleet) issuer() Issuer { return Issuer{ChainID: chainID, Owner: "hearth1owner", Key: f.key} }

func shareOut(t *testing.T, f *fleet, c *Client, r index.Ref, prefix bool) (share.Link, Share) {
	t.Helper()
	l, s, err := c.Share(t.Context(), r, prefix, f.now().Unix()+3600, f.issuer())
	if err != nil {
		t.Fatal(err)
	}
	again, err := share.Parse(l.String()) // as it is passed on
	if err != nil {
		t.Fatal(err)
	}
	return again, s
}

func opened(t *testing.T, c *Client, l share.Link) *Shared {
	t.Helper()
	s, err := c.OpenLink(t.Context(), l, chainID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func wantShared(t *testing.T, s *Shared, key string, want []byte) {
	t.Helper()
	var got bytes.Buffer
	if _, err := s.Get(t.Context(), key, &got, GetOptions{}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Fatalf("%s: got %d other bytes than the %d that are shared", key, got.Len(), len(want))
	}
}

func TestALinkIsEnoughToReadWhileTheOwnerIsAway(t *testing.T) {
	f, owner, guest := sharing(t)
	for key, size := range map[string]int{"tiny": 10, "small": 9000, "large": 13 << 20, "empty": 0} {
		put(t, owner, index.Ref{Bucket: "town", Key: key}, random(size)) // the small one is in the journal
	}
	links := map[string]share.Link{}
	for _, key := range []string{"tiny", "small", "large", "empty"} {
		links[key], _ = shareOut(t, f, owner, index.Ref{Bucket: "town", Key: key}, false)
	}
	owner.Close()
	for key, size := range map[string]int{"tiny": 10, "small": 9000, "large": 13 << 20, "empty": 0} {
		s := opened(t, guest, links[key])
		if s.Name() != "town/"+key || len(s.Objects()) != 1 || s.Objects()[0].Size != int64(size) {
			t.Errorf("%s: %q, %+v", key, s.Name(), s.Objects())
		}
		wantShared(t, s, key, random(size))
	}
	var part bytes.Buffer
	s := opened(t, guest, links["large"])
	if _, err := s.Get(t.Context(), "large", &part, GetOptions{Offset: 12<<20 - 50, Length: 100}); err != nil || !bytes.Equal(part.Bytes(), random(13 << 20)[12<<20-50:][:100]) {
		t.Errorf("a range: %v", err)
	}
	if n := len(links["large"].String()); n > 4096 {
		t.Errorf("a link of %d characters", n)
	}
}

func TestALinkReachesItsPrefixAsItWasAndNothingElse(t *testing.T) {
	f, owner, guest := sharing(t)
	for i, key := range []string{"photos/1", "photos/2", "photos2", "secret"} {
		put(t, owner, index.Ref{Bucket: "town", Key: key}, random(9000+i))
	}
	link, made := shareOut(t, f, owner, index.Ref{Bucket: "town", Key: "photos/"}, true)
	if made.Objects != 2 || made.Bytes != 18_001 {
		t.Errorf("%+v", made)
	}
	put(t, owner, index.Ref{Bucket: "town", Key: "photos/3"}, random(9100)) // has keys of its own
	put(t, owner, index.Ref{Bucket: "town", Key: "photos/2"}, random(9200))
	flush(t, owner)
	s := opened(t, guest, link)
	wantShared(t, s, "photos/1", random(9000))
	wantShared(t, s, "photos/2", random(9001))
	for _, key := range []string{"photos/3", "photos2", "secret", "", "photos/", "photos/../secret"} {
		_, err := s.Get(t.Context(), key, io.Discard, GetOptions{})
		wantCode(t, err, fault.NotFound)
	}
	_, _, err := owner.Share(t.Context(), index.Ref{Bucket: "town", Key: "nothing"}, true, f.now().Unix()+60, f.issuer())
	wantCode(t, err, fault.NotFound)
	_, _, err = owner.Share(t.Context(), index.Ref{Bucket: "town", Key: "nothing"}, false, f.now().Unix()+60, f.issuer())
	wantCode(t, err, fault.NotFound)
	for _, until := range []int64{f.now().Unix(), f.now().Unix() + 2*share.MaxSeconds} {
		_, _, err = owner.Share(t.Context(), index.Ref{Bucket: "town", Key: "secret"}, false, until, f.issuer())
		wantCode(t, err, fault.BadRequest)
	}
}

// A slab has one key. What lies in it beside the shared object is nobody's business.
func TestALinkToAPackedObjectHasNoKeyOfItsNeighbours(t *testing.T) {
	f, owner, guest := sharing(t)
	shown, secret := index.Ref{Bucket: "town", Key: "shown"}, index.Ref{Bucket: "town", Key: "secret"}
	put(t, owner, shown, random(9000))
	put(t, owner, secret, random(9001))
	flush(t, owner)
	if len(slabsOf(t, owner, shown, secret)) != 1 {
		t.Fatal("they don't share a slab")
	}
	link, _ := shareOut(t, f, owner, shown, false)
	s := opened(t, guest, link)
	wantShared(t, s, "shown", random(9000))
	for id := range slabsOf(t, owner, secret) {
		for _, file := range s.list.files {
			if file.Slabs[id] != nil {
				t.Error("the link has the key of a slab in which something else lies")
			}
		}
	}
	// An extent that isn't a whole slab is copied for a link of several too.
	both, _ := shareOut(t, f, owner, index.Ref{Bucket: "town"}, true)
	s = opened(t, guest, both)
	wantShared(t, s, "shown", random(9000))
	wantShared(t, s, "secret", random(9001))
}

func TestALinkShowsWhatWasThereAlsoWhenItIsReplacedOrRemoved(t *testing.T) {
	f, owner, guest := sharing(t)
	small, large := index.Ref{Bucket: "town", Key: "small"}, index.Ref{Bucket: "town", Key: "large"}
	put(t, owner, small, random(9000))
	put(t, owner, large, random(9<<20))
	link, made := shareOut(t, f, owner, index.Ref{Bucket: "town"}, true)
	put(t, owner, small, random(9001))
	if _, err := owner.Remove(t.Context(), large, index.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	flush(t, owner)
	f.pass(time.Hour / 2)
	until(t, owner)
	s := opened(t, guest, link)
	wantShared(t, s, "small", random(9000))
	wantShared(t, s, "large", random(9<<20))
	if _, _, err := owner.Revoke(t.Context(), made.Serial); err != nil {
		t.Fatal(err)
	}
	if n := len(slabsOf(t, owner, small)); n != 1 {
		t.Errorf("%d slabs", n)
	}
	wantContent(t, owner, small, random(9001))
}

// Every put draws keys: what is written under a shared prefix after a revocation
// can't be opened with what an old link has, though the ticket of another link
// still has hosts serve the shards.
func TestWhatIsWrittenAfterARevocationHasOtherKeys(t *testing.T) {
	f, owner, guest := sharing(t)
	refs := []index.Ref{{Bucket: "town", Key: "p/small"}, {Bucket: "town", Key: "p/large"}}
	write := func(more int) {
		put(t, owner, refs[0], random(9000+more))
		put(t, owner, refs[1], random(5<<20+more))
		flush(t, owner)
	}
	write(0)
	link, made := shareOut(t, f, owner, index.Ref{Bucket: "town", Key: "p/"}, true)
	old := opened(t, guest, link)
	if _, _, err := owner.Revoke(t.Context(), made.Serial); err != nil {
		t.Fatal(err)
	}
	write(1)
	known := map[[32]byte]bool{}
	for _, file := range old.list.files {
		for _, s := range file.Slabs {
			known[s.Key] = true
		}
	}
	for _, s := range slabsOf(t, owner, refs...) {
		if known[s.Key] {
			t.Error("what was written later is encrypted with a key of the revoked link")
		}
	}
	valid, _ := shareOut(t, f, owner, index.Ref{Bucket: "town", Key: "p/"}, true)
	s := opened(t, guest, valid)
	wantShared(t, s, "p/large", random(5<<20+1))
	for i := range s.list.files { // the old keys, for the new shards
		for id, slab := range s.list.files[i].Slabs {
			wrong := *slab
			for k := range known {
				wrong.Key = k
			}
			s.list.files[i].Slabs[id] = &wrong
		}
	}
	var got bytes.Buffer
	if _, err := s.Get(t.Context(), "p/large", &got, GetOptions{}); err == nil && bytes.Equal(got.Bytes(), random(5<<20+1)) {
		t.Error("it is read with a key of the revoked link")
	}
}

// Another machine of the account has the links from the log: it lists them, looks
// after what they show, and revokes them.
func TestAnotherDeviceHasTheLinks(t *testing.T) {
	f, owner, guest := sharing(t)
	put(t, owner, ref, random(2<<20))
	link, made := shareOut(t, f, owner, ref, false)
	_, gone := shareOut(t, f, owner, ref, false)
	if _, _, err := owner.Revoke(t.Context(), gone.Serial); err != nil {
		t.Fatal(err)
	}
	changes, err := owner.c.Index.Changes(t.Context(), 0, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	owner.Close()
	var bodies [][]byte
	for _, c := range changes {
		bodies = append(bodies, c.Body)
	}
	next := f.client(t, filepath.Join(t.TempDir(), "next.db"), nil)
	if err := next.c.Index.Apply(t.Context(), 77, bodies); err != nil {
		t.Fatal(err)
	}
	made.Created = 0
	list, err := next.Shares(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("listed: %+v, %v", list, err)
	}
	if list[0].Created = 0; list[0] != made {
		t.Errorf("listed: %+v, it was made as %+v", list[0], made)
	}
	wantShared(t, opened(t, guest, link), "a", random(2<<20))
	if _, untold, err := next.Revoke(t.Context(), made.Serial); err != nil || len(untold) != 0 {
		t.Fatalf("not told: %v, %v", untold, err)
	}
	if _, err := guest.OpenLink(t.Context(), link, chainID); err == nil {
		t.Error("it can still be opened")
	}
	if dead, err := next.shares(t.Context(), deadShare); err != nil || len(dead) != 2 {
		t.Errorf("revoked: %+v, %v", dead, err)
	}
}

func TestAForgedLinkOpensNothing(t *testing.T) {
	f, owner, guest := sharing(t)
	put(t, owner, ref, random(9000))
	link, _ := shareOut(t, f, owner, ref, false)
	longer := link
	longer.Ticket.Until += 1000
	_, err := guest.OpenLink(t.Context(), longer, chainID)
	wantCode(t, err, fault.BadSignature)
	_, err = guest.OpenLink(t.Context(), link, "hearth-other")
	wantCode(t, err, fault.WrongNetwork)

	// A stranger who knows everything and signs by himself: hosts don't know him.
	stranger := newKey(t)
	forged := link
	forged.Key = [32]byte(stranger.Public().(ed25519.PublicKey))
	forged.Sig = [64]byte(forged.Ticket.Sign(chainID, stranger))
	if _, err := guest.OpenLink(t.Context(), forged, chainID); err == nil {
		t.Fatal("hosts serve on a stranger's word")
	}
	wantShared(t, opened(t, guest, link), "a", random(9000))
}

func TestALinkEnds(t *testing.T) {
	f, owner, guest := sharing(t)
	put(t, owner, ref, random(2<<20))
	link, _ := shareOut(t, f, owner, ref, false)
	s := opened(t, guest, link)
	wantShared(t, s, "a", random(2<<20))
	f.pass(2 * time.Hour)
	_, err := guest.OpenLink(t.Context(), link, chainID)
	wantCode(t, err, fault.Unauthorized)
	if _, err := s.Get(t.Context(), "a", io.Discard, GetOptions{}); err == nil {
		t.Error("hosts serve after its end")
	}
	if list, err := owner.Shares(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("listed: %+v, %v", list, err)
	}
}

func TestARevokedLinkOpensNothingAndDisturbsNoOther(t *testing.T) {
	f, owner, guest := sharing(t)
	put(t, owner, ref, random(2<<20))
	link, made := shareOut(t, f, owner, ref, false)
	other, kept := shareOut(t, f, owner, ref, false)
	if list, err := owner.Shares(t.Context()); err != nil || len(list) != 2 {
		t.Fatalf("listed: %+v, %v", list, err)
	}
	before := opened(t, guest, link) // knows where everything is
	wantShared(t, before, "a", random(2<<20))
	f.machines[5].dead.Store(true)
	_, untold, err := owner.Revoke(t.Context(), made.Serial)
	if err != nil || len(untold) != 1 || untold[0] != f.machines[5].name {
		t.Fatalf("not told: %v, %v", untold, err)
	}
	if _, err := before.Get(t.Context(), "a", io.Discard, GetOptions{}); err == nil {
		t.Error("hosts serve what was revoked")
	}
	f.machines[5].dead.Store(false)
	f.pass(time.Hour / 2)
	if untold, err := owner.tellRevoked(t.Context()); err != nil || len(untold) != 0 {
		t.Errorf("told later: %v, %v", untold, err)
	}
	until(t, owner)
	if _, err := guest.OpenLink(t.Context(), link, chainID); err == nil {
		t.Error("it can still be opened")
	}
	wantShared(t, opened(t, guest, other), "a", random(2<<20))
	if list, err := owner.Shares(t.Context()); err != nil || len(list) != 1 || list[0].Serial != kept.Serial {
		t.Errorf("listed: %+v, %v", list, err)
	}
	_, _, err = owner.Revoke(t.Context(), made.Serial)
	wantCode(t, err, fault.NotFound)
	wantContent(t, owner, ref, random(2<<20))
}

// A purse is noted before it is filled, so that its money returns whatever happens,
// and it is over when its link is.
func TestThePurseOfALink(t *testing.T) {
	f, owner, _ := sharing(t)
	put(t, owner, ref, random(9000))
	filled := map[share.Serial]Purse{}
	by := f.issuer()
	by.Pay, by.Fund = 5, func(_ context.Context, serial share.Serial) (Purse, error) {
		p := Purse{Account: "hearth1" + serial.String(), Seed: [32]byte{1, serial[0]}}
		filled[serial] = p
		return p, nil
	}
	over := func(want ...share.Serial) {
		t.Helper()
		var got []share.Serial
		list, err := owner.Purses(t.Context())
		for _, s := range list {
			got = append(got, s.Serial)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("over are %v, %v, want %v", got, err, want)
		}
	}
	over()
	l, made, err := owner.Share(t.Context(), ref, false, f.now().Unix()+7200, by)
	if err != nil || made.Pay != 5 {
		t.Fatalf("%+v, %v", made, err)
	}
	var payers []*Purse
	reader := f.client(t, filepath.Join(t.TempDir(), "reader.db"), func(c *Config) {
		c.Readers = readers{f, newKey(t), func(p *Purse) { payers = append(payers, p) }}
	})
	s := opened(t, reader, l)
	wantShared(t, s, "a", random(9000))
	if want := filled[made.Serial]; !s.Paid() || len(payers) == 0 || *payers[0] != want {
		t.Errorf("%v pay, want %v", payers, want)
	}
	if list, err := owner.Shares(t.Context()); err != nil || len(list) != 1 || list[0].Pay != 5 {
		t.Errorf("listed: %+v, %v", list, err)
	}
	over()
	if _, _, err := owner.Revoke(t.Context(), made.Serial); err != nil {
		t.Fatal(err)
	}
	over(made.Serial)
	if err := owner.DropPurse(t.Context(), made.Serial); err != nil {
		t.Fatal(err)
	}
	over()
	by.Fund = func(_ context.Context, serial share.Serial) (Purse, error) {
		filled[serial] = Purse{}
		return Purse{}, fault.New(fault.LedgerDown, "nobody knows whether it is filled")
	}
	clear(filled)
	_, _, err = owner.Share(t.Context(), ref, false, f.now().Unix()+7200, by)
	wantCode(t, err, fault.LedgerDown)
	over() // it may be about to be made
	f.pass(time.Hour + time.Minute)
	for serial := range filled {
		over(serial)
	}
}

func FuzzList(f *testing.F) {
	l := &list{name: "town/a", files: []index.File{{Object: index.Object{Ref: index.Ref{Bucket: "shared", Key: "a"}, Size: 2}, Manifest: index.Manifest{Inline: []byte("hi")}}}}
	b, err := l.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := decodeList(b); err == nil {
			for _, o := range l.files {
				if o.Size != o.Manifest.Size() {
					t.Error("an object contradicts itself")
				}
			}
		}
		if s, _, err := decodeContents(b); err == nil && s.Check() != nil {
			t.Error("a slab that can't be")
		}
	})
}
