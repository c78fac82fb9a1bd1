package s3

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"hearth/core/capability"
	"hearth/core/fault"
	"hearth/internal/durable"
)

// A Key is a capability that the door has given out. Its secret isn't kept: it
// follows from the capability and the root that the account's phrase gives.
type Key struct {
	Access     string
	Name       string // what its owner calls it
	Created    time.Time
	Capability capability.Capability
}

const (
	accessPrefix = "HEARTH"
	maxKeys      = 10_000
	maxName      = 64
)

// accessOf is how a capability is named at the door.
func accessOf(id [16]byte) string {
	return accessPrefix + strings.TrimRight(words.EncodeToString(id[:10]), "=")
}

// Keys are the keys of a door, in a file. Safe for concurrent use.
type Keys struct {
	path string
	root [32]byte
	now  func() time.Time

	mu     sync.Mutex
	access map[string]Key
}

const keysMajor = 1

type keysFile struct {
	Major int       `json:"major"`
	Keys  []keyLine `json:"keys"`
}

type keyLine struct {
	Name       string `json:"name,omitempty"`
	Created    int64  `json:"created"`
	Capability string `json:"capability"` // hex of its canonical bytes
}

// OpenKeys reads the keys of the file at path, which may be missing. root is what
// their secrets come from.
func OpenKeys(path string, root [32]byte, now func() time.Time) (*Keys, error) {
	k := &Keys{path: path, root: root, now: now, access: make(map[string]Key)}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read keys of the S3 door: %w", err)
	}
	var f keysFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fault.New(fault.BadConfig, "read %s: %w", path, err)
	}
	if f.Major != keysMajor {
		return nil, fault.New(fault.UnknownFormat, "read %s: format major %d, known is %d", path, f.Major, keysMajor)
	}
	for _, l := range f.Keys {
		b, err := hex.DecodeString(l.Capability)
		if err != nil {
			return nil, fault.New(fault.BadConfig, "read %s: %w", path, err)
		}
		c, err := capability.Decode(b)
		if err != nil {
			return nil, fault.New(fault.CodeOf(err), "read %s: %w", path, err)
		}
		k.access[accessOf(c.ID)] = Key{Access: accessOf(c.ID), Name: l.Name, Created: time.Unix(l.Created, 0).UTC(), Capability: c}
	}
	return k, nil
}

// Add makes a key that is narrowed by the caveats. It is kept when this returns.
func (k *Keys) Add(name string, caveats ...capability.Caveat) (Key, capability.Secret, error) {
	bad := func(err error) (Key, capability.Secret, error) { return Key{}, capability.Secret{}, err }
	if len(name) > maxName {
		return bad(fault.New(fault.TooLarge, "add key: a name of %d bytes, at most %d are allowed", len(name), maxName))
	}
	c := capability.Capability{Caveats: caveats}
	if _, err := rand.Read(c.ID[:]); err != nil {
		return bad(fmt.Errorf("add key: %w", err))
	}
	if _, err := c.Encode(); err != nil {
		return bad(err)
	}
	key := Key{Access: accessOf(c.ID), Name: name, Created: k.now().UTC().Truncate(time.Second), Capability: c}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.access) >= maxKeys {
		return bad(fault.New(fault.TooLarge, "add key: there are %d already", len(k.access)))
	}
	k.access[key.Access] = key
	if err := k.write(); err != nil {
		delete(k.access, key.Access)
		return bad(err)
	}
	return key, c.Secret(k.root), nil
}

// Remove revokes a key; what it signed ahead is refused from now on.
func (k *Keys) Remove(access string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.access[access]
	if !ok {
		return fault.New(fault.NotFound, "there is no key %s", access)
	}
	delete(k.access, access)
	if err := k.write(); err != nil {
		k.access[access] = key
		return err
	}
	return nil
}

// write replaces the file; mu is held.
func (k *Keys) write() error {
	f := keysFile{Major: keysMajor, Keys: []keyLine{}}
	for _, key := range k.sorted() {
		b, err := key.Capability.Encode()
		if err != nil {
			return err
		}
		f.Keys = append(f.Keys, keyLine{key.Name, key.Created.Unix(), hex.EncodeToString(b)})
	}
	text, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return fmt.Errorf("write keys of the S3 door: %w", err)
	}
	return durable.Write(k.path, append(text, '\n'), 0o600)
}

func (k *Keys) sorted() []Key {
	out := make([]Key, 0, len(k.access))
	for _, key := range k.access {
		out = append(out, key)
	}
	slices.SortFunc(out, func(a, b Key) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.Access, b.Access)
	})
	return out
}

// All lists the keys, oldest first.
func (k *Keys) All() []Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sorted()
}

// Secret is the secret of a key, by its access key or its name.
func (k *Keys) Secret(which string) (Key, capability.Secret, error) {
	for _, key := range k.All() {
		if key.Access == which || key.Name == which && which != "" {
			return key, key.Capability.Secret(k.root), nil
		}
	}
	return Key{}, capability.Secret{}, fault.New(fault.NotFound, "there is no key %s: `hearth s3 keys ls` shows those there are", which)
}

// Token writes a capability as a session token.
func Token(c capability.Capability) (string, error) {
	b, err := c.Encode()
	return base64.RawURLEncoding.EncodeToString(b), err
}

// holder is what a request's access key and session token stand for. The token,
// if there is one, is a narrower capability of the same name: that it is one
// shows in the signature, which no other secret gives.
func (k *Keys) holder(access, token string) (capability.Capability, error) {
	k.mu.Lock()
	key, ok := k.access[access]
	k.mu.Unlock()
	if !ok {
		return capability.Capability{}, errNoKey
	}
	if token == "" {
		return key.Capability, nil
	}
	if len(token) > maxToken {
		return capability.Capability{}, errBadToken
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return capability.Capability{}, errBadToken
	}
	c, err := capability.Decode(b)
	had := len(key.Capability.Caveats)
	if err != nil || c.ID != key.Capability.ID || len(c.Caveats) < had || !slices.Equal(c.Caveats[:had], key.Capability.Caveats) {
		return capability.Capability{}, errBadToken
	}
	return c, nil
}

const maxToken = 8 << 10

var (
	errNoKey    = errors.New("no such key")
	errBadToken = errors.New("not a token of this key")
)
