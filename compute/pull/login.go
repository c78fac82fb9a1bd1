package pull

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"cuelabs.dev/go/oci/ociregistry/ociauth"

	"hearth/core/fault"
	"hearth/internal/bounded"
)

// Logins are the user's with registries, where docker, podman and skopeo keep them.
// They are read for each image anew, and go nowhere but to the registry they are for
// and to where that has its tokens made.
type Logins struct {
	texts []loginFile
}

type loginFile struct {
	from string
	text []byte
}

const (
	maxLogins      = 1 << 20 // bytes of a file
	helperPatience = time.Minute
)

// FindLogins reads the files that the environment names; one that isn't there has
// no logins.
func FindLogins(getenv func(string) string) (*Logins, error) {
	l := &Logins{}
	if text := getenv("DOCKER_AUTH_CONFIG"); text != "" {
		l.texts = append(l.texts, loginFile{"$DOCKER_AUTH_CONFIG", []byte(text)})
	}
	home := getenv("HOME")
	if home == "" {
		home = getenv("USERPROFILE") // Windows
	}
	docker := getenv("DOCKER_CONFIG")
	if docker == "" && home != "" {
		docker = filepath.Join(home, ".docker")
	}
	for _, at := range [][]string{
		{getenv("REGISTRY_AUTH_FILE")},
		{docker, "config.json"},
		{getenv("XDG_RUNTIME_DIR"), "containers", "auth.json"},
		{home, ".config", "containers", "auth.json"},
	} {
		if at[0] == "" {
			continue
		}
		path := filepath.Join(at...)
		info, err := os.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read logins: %w", err)
		}
		if info.Size() > maxLogins {
			return nil, fault.New(fault.TooLarge, "read logins: %s has more than %d bytes", path, maxLogins)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read logins: %w", err)
		}
		l.texts = append(l.texts, loginFile{path, text})
	}
	return l, nil
}

// of finds the login for an image; a zero one: there is none.
func (l *Logins) of(ctx context.Context, n Name) (ociauth.ConfigEntry, error) {
	var none ociauth.ConfigEntry
	if l == nil {
		return none, nil
	}
	for _, f := range l.texts {
		var named struct {
			Auths       map[string]json.RawMessage `json:"auths"`
			CredHelpers map[string]json.RawMessage `json:"credHelpers"`
		}
		if err := json.Unmarshal(f.text, &named); err != nil {
			return none, fault.New(fault.DamagedFile, "read logins: %s isn't what docker writes", f.from) // not its text
		}
		// The library reads the file's form; what is in it is handed over as it lies there.
		c, err := ociauth.LoadWithEnv(helper(ctx), []string{"DOCKER_AUTH_CONFIG=" + string(f.text)})
		if err != nil {
			return none, fault.New(fault.DamagedFile, "read logins: %s: %w", f.from, err)
		}
		for i, key := range keys(n) {
			_, a := named.Auths[key]
			_, b := named.CredHelpers[key]
			if i > 0 && !a && !b {
				continue
			}
			e, err := c.EntryForRegistry(key)
			if err != nil {
				return none, fault.New(fault.BadConfig, "read logins: %s: %w", f.from, err)
			}
			if e != none {
				return e, nil
			}
		}
	}
	return none, nil
}

// keys are what a login for an image may be kept under: first the one that docker asks
// its helpers for, then others, the most exact first.
func keys(n Name) []string {
	if n.Registry == hub {
		return []string{"https://index.docker.io/v1/", hub + "/" + n.Image, hub, hubOldName, hubHost}
	}
	out := []string{n.Registry}
	for at := n.Registry + "/" + n.Image; at != n.Registry; at = at[:strings.LastIndexByte(at, '/')] {
		out = append(out, at)
	}
	return out
}

// helper asks a program that keeps passwords, as docker does. What it says goes into
// no error: it may be a password.
func helper(ctx context.Context) ociauth.HelperRunner {
	return func(name, server string) (e ociauth.ConfigEntry, err error) {
		program := "docker-credential-" + name
		ctx, cancel := context.WithTimeout(ctx, helperPatience)
		defer cancel()
		out := &bounded.Buffer{Most: 64 << 10}
		c := exec.CommandContext(ctx, program, "get")
		c.Stdin, c.Stdout, c.WaitDelay = strings.NewReader(server), out, time.Second
		if err := c.Run(); err != nil {
			if errors.Is(err, exec.ErrNotFound) {
				return e, fmt.Errorf("%w: %s", ociauth.ErrHelperNotFound, program)
			}
			if bytes.Contains(out.Bytes(), []byte("credentials not found")) {
				return e, nil
			}
			return e, fmt.Errorf("ask %s for %.100s: %w", program, server, err)
		}
		var says struct{ Username, Secret string }
		if err := json.Unmarshal(out.Bytes(), &says); err != nil {
			return e, fmt.Errorf("ask %s for %.100s: it doesn't answer as helpers do", program, server)
		}
		if says.Username == "<token>" {
			return ociauth.ConfigEntry{RefreshToken: says.Secret}, nil
		}
		return ociauth.ConfigEntry{Username: says.Username, Password: says.Secret}, nil
	}
}

// only gives a registry its login, and no other host any.
type only struct {
	host  string
	login ociauth.ConfigEntry
}

// EntryForRegistry is the login for a host.
func (o only) EntryForRegistry(host string) (ociauth.ConfigEntry, error) {
	if host != o.host {
		return ociauth.ConfigEntry{}, nil
	}
	return o.login, nil
}
