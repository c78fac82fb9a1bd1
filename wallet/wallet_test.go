package wallet_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"hearth/core/fault"
	"hearth/wallet"
)

const known = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"

type vector struct {
	Phrase   string `json:"phrase"`
	Device   string `json:"device"` // hex
	Account  string `json:"account"`
	Public   string `json:"account_public_key"`
	Storage  string `json:"storage_root"`
	Index    string `json:"index"`
	Names    string `json:"names"`
	Pointer  string `json:"pointer_public_key"`
	Doors    string `json:"doors"`
	Node     string `json:"node_public_key"`
	Spending string `json:"spending_public_key"`
	Address  string `json:"spending_address"`
}

func phrase(t testing.TB, s string) wallet.Phrase {
	t.Helper()
	p, err := wallet.ParsePhrase(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Every key of a phrase stays what it is: a change here loses people's files.
func TestKeysOfKnownPhrases(t *testing.T) {
	raw, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, want := range vectors {
		device, err := strconv.ParseUint(want.Device, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		k, err := wallet.Derive(phrase(t, want.Phrase), device)
		if err != nil {
			t.Fatal(err)
		}
		secret := func(s wallet.Secret) string { b := s.Reveal(); return hex.EncodeToString(b[:]) }
		_, public := k.Account().PublicKey()
		got := vector{
			want.Phrase, want.Device, k.Account().Address(), hex.EncodeToString(public),
			secret(k.Storage()), secret(k.Index()), secret(k.Names()),
			hex.EncodeToString(k.Pointer().Public().(ed25519.PublicKey)), secret(k.Doors()),
			hex.EncodeToString(k.Node().Public().(ed25519.PublicKey)),
			hex.EncodeToString(k.Spending().Public()), k.Spending().Address(),
		}
		if got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}

func TestDevicesShareTheAccountAndNoPeerIdentity(t *testing.T) {
	p := phrase(t, known)
	a, errA := wallet.Derive(p, 1)
	b, errB := wallet.Derive(p, 2)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if a.Account().Address() != b.Account().Address() || a.Index().Reveal() != b.Index().Reveal() || a.Storage().Reveal() != b.Storage().Reveal() {
		t.Error("two devices of one phrase differ in what they share")
	}
	if a.Node().Equal(b.Node()) || a.Spending().Key().Equal(b.Spending().Key()) || a.Node().Equal(a.Spending().Key()) {
		t.Error("two keys that must differ are the same")
	}
	if wallet.AddressOfEd25519(a.Spending().Public()) != a.Spending().Address() {
		t.Error("a spending key has two addresses")
	}
}

// The keys of a link follow from phrase and serial: after a restore its purse is
// still the account's.
func TestKeysOfALinkAreTheAccountsOnAnyDevice(t *testing.T) {
	k, err := wallet.Derive(phrase(t, known), 1)
	if err != nil {
		t.Fatal(err)
	}
	account, key, err := k.Link([16]byte{7})
	if err != nil {
		t.Fatal(err)
	}
	if got := account.Address() + " " + hex.EncodeToString(key.Public()); got != linkVector {
		t.Errorf("got  %s\nwant %s", got, linkVector)
	}
	other, _ := wallet.Derive(phrase(t, known), 2)
	again, same, err := other.Link([16]byte{7})
	if err != nil || again.Address() != account.Address() || !same.Key().Equal(key.Key()) {
		t.Errorf("another device has %v, %v", again, err)
	}
	if !wallet.SpendingOf([32]byte(key.Key().Seed())).Key().Equal(key.Key()) {
		t.Error("the seed in a link gives another key")
	}
	next, _, _ := k.Link([16]byte{8})
	if next.Address() == account.Address() || account.Address() == k.Account().Address() {
		t.Error("two accounts that must differ are the same")
	}
}

// The vector of docs/formats/keys.md.
const linkVector = "hearth1xl85glh6x4yzxhyzm2gaq8ctfvdfm2n52ymgdp 1c6be20c67c144c95b378921fcae1f6bd92002cc2d7a1315b8d69ebc8c8b32fb"

func TestPhrasesAsPeopleTypeThem(t *testing.T) {
	for _, s := range []string{
		known, strings.ToUpper(known), "  " + strings.ReplaceAll(known, " ", "\n\t ") + "\n",
		"1. abandon 2. abandon 3. abandon 4. abandon 5. abandon 6. abandon 7. abandon 8. abandon 9) abandon 10 abandon 11 abandon 12 about",
	} {
		p, err := wallet.ParsePhrase(s)
		if err != nil || p.Reveal() != known {
			t.Errorf("%q: %v", s, err)
		}
	}
	for s, says := range map[string]string{
		"":                                     "0 words",
		known + " about":                       "13 words",
		strings.Replace(known, "about", "", 1): "11 words",
		strings.Replace(known, "about", "abandon", 1):              "checksum",
		strings.Replace(known, "abandon about", "abandn about", 1): "word 11 of 12",
		strings.Repeat("abandon ", 200):                            "too many",
	} {
		_, err := wallet.ParsePhrase(s)
		if fault.CodeOf(err) != fault.BadPhrase || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want it to say %q", s, err, says)
		}
		if strings.Contains(fmt.Sprint(err), "aband") {
			t.Errorf("the error repeats a word: %v", err)
		}
	}
}

func TestNewPhrasesDifferAndReadBack(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		p, err := wallet.NewPhrase()
		if err != nil {
			t.Fatal(err)
		}
		if again := phrase(t, p.Reveal()); again.Reveal() != p.Reveal() || seen[p.Reveal()] {
			t.Fatal("a new phrase is invalid or not new")
		}
		seen[p.Reveal()] = true
	}
}

func FuzzParsePhrase(f *testing.F) {
	f.Add(known)
	f.Add("1. zoo")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := wallet.ParsePhrase(s)
		if err == nil && phrase(t, p.Reveal()).Reveal() != p.Reveal() {
			t.Error("a phrase reads back otherwise")
		}
	})
}

func TestSignaturesVerify(t *testing.T) {
	k, err := wallet.Derive(phrase(t, known), 7)
	if err != nil {
		t.Fatal(err)
	}
	doc := []byte("doc")
	sig, err := k.Spending().Sign(doc)
	if err != nil || !ed25519.Verify(k.Spending().Public(), doc, sig) {
		t.Errorf("spending key: %v", err)
	}
	sig, err = k.Account().Sign(doc)
	if err != nil || len(sig) != 64 {
		t.Fatalf("account: %d bytes, %v", len(sig), err)
	}
	var s secp256k1.ModNScalar
	if s.SetByteSlice(sig[32:]) || s.IsOverHalfOrder() {
		t.Error("the account's signature has a high s")
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	k, err := wallet.Derive(phrase(t, known), 7)
	if err != nil {
		t.Fatal(err)
	}
	id := wallet.Identity{Phrase: phrase(t, known), Device: 7, Network: "n"}
	type holder struct{ a, B any }
	root, node, pointer := k.Storage().Reveal(), k.Node(), k.Pointer()
	for _, v := range []any{k, *k, k.Account(), k.Spending(), *k.Spending(), k.Storage(), id, &id, id.Phrase, holder{k, id}, holder{id.Phrase, k.Account()}} {
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		js, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
		}
		all := log.String() + string(js) + fmt.Sprintf("%v %+v %#v %s %x %d %q", v, v, v, v, v, v, v)
		for _, secret := range []string{
			"abandon", "about", hex.EncodeToString([]byte("about")), hex.EncodeToString(root[:4]), hex.EncodeToString(node[:4]), hex.EncodeToString(pointer[:4]),
			strings.Trim(fmt.Sprint(root[:6]), "[]"), strings.Trim(fmt.Sprint([]byte(node[:6])), "[]"),
		} {
			if strings.Contains(all, secret) {
				t.Errorf("%T shows %q", v, secret)
			}
		}
	}
}

func TestTheSheetCarriesWhatIsNeeded(t *testing.T) {
	id := wallet.Identity{Phrase: phrase(t, "legal winner thank year wave sausage worth useful legal winner thank yellow"), Network: "hearth-0123456789abcdef0123@http://a"}
	sheet, err := wallet.Sheet(id)
	if err != nil {
		t.Fatal(err)
	}
	k, err := wallet.Derive(id.Phrase, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range strings.Fields(id.Phrase.Reveal()) {
		if !strings.Contains(sheet, fmt.Sprintf("%d. %s", i+1, w)) {
			t.Errorf("word %d is missing", i+1)
		}
	}
	if !strings.Contains(sheet, id.Network) || !strings.Contains(sheet, k.Account().Address()) {
		t.Errorf("network or account missing:\n%s", sheet)
	}
}

var someone = wallet.Identity{Device: 42, Network: "hearth-0123456789abcdef0123@http://127.0.0.1:26657"}

func TestKeystoreGivesBackWhatWasPut(t *testing.T) {
	for name, pass := range map[string]string{"open": "", "sealed": "correct horse"} {
		t.Run(name, func(t *testing.T) {
			id := someone
			id.Phrase = phrase(t, known)
			path := filepath.Join(t.TempDir(), "key")
			if err := wallet.Create(path, id, []byte(pass)); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			got, err := wallet.Open(path, []byte(pass))
			if err != nil || got.Phrase.Reveal() != known || got.Device != id.Device || got.Network != id.Network {
				t.Errorf("%v, %v", got, err)
			}
			isSealed, err := wallet.Sealed(path)
			if err != nil || isSealed != (pass != "") {
				t.Errorf("sealed %t, %v", isSealed, err)
			}
			raw, err := os.ReadFile(path)
			if err != nil || strings.Contains(string(raw), "abandon") == isSealed {
				t.Error("the words stand in a sealed file, or not in an open one")
			}
			// A second identity never replaces the first.
			if err := wallet.Create(path, id, nil); fault.CodeOf(err) != fault.IdentityExists {
				t.Errorf("create twice: %v", err)
			}
			after, err := os.ReadFile(path)
			if err != nil || string(after) != string(raw) {
				t.Error("the file changed")
			}
			entries, err := os.ReadDir(filepath.Dir(path))
			if err != nil || len(entries) != 1 {
				t.Errorf("left over: %v, %v", entries, err)
			}
		})
	}
}

func TestKeystoreSaysWhatIsWrong(t *testing.T) {
	id := someone
	id.Phrase = phrase(t, known)
	path := filepath.Join(t.TempDir(), "key")
	if err := wallet.Create(path, id, []byte("right")); err != nil {
		t.Fatal(err)
	}
	want := func(what string, pass string, code fault.Code) {
		t.Helper()
		before, _ := os.ReadFile(path)
		_, err := wallet.Open(path, []byte(pass))
		if fault.CodeOf(err) != code {
			t.Errorf("%s: %v, want %s", what, err, code)
		}
		if after, _ := os.ReadFile(path); string(after) != string(before) {
			t.Errorf("%s: the file changed", what)
		}
	}
	want("a wrong passphrase", "wrong", fault.WrongPassphrase)
	want("no passphrase", "", fault.WrongPassphrase)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []int{0, 5, 12, 40, len(raw) - 1} {
		write(raw[:n])
		want(fmt.Sprintf("cut off at %d", n), "right", fault.KeyUnreadable)
	}
	for i := range raw {
		bad := append([]byte(nil), raw...)
		bad[i] ^= 0x40
		write(bad)
		want(fmt.Sprintf("byte %d changed", i), "right", fault.KeyUnreadable)
	}
	write(raw)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	want("a file that the group may read", "right", fault.KeyUnreadable)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want("no file", "right", fault.NoIdentity)
}
