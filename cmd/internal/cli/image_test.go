package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hearth/api"
	"hearth/core/fault"
	"hearth/internal/terminal"
)

func TestALoginIsAddedWhereDockerLooksForIt(t *testing.T) {
	door := api.ImageDoor{Address: "127.0.0.1:9480", User: "hearth", Password: "word"}
	const auth = `"127.0.0.1:9480":{"auth":"aGVhcnRoOndvcmQ="}`
	for _, tt := range []struct{ name, old, want string }{
		{"a new file", "", `{"auths":{` + auth + `}}`},
		{"beside others", `{"auths":{"a":{"auth":"x"}},"detachKeys":"y"}`, `{"auths":{` + auth + `,"a":{"auth":"x"}},"detachKeys":"y"}`},
		{"in the place of an older one", `{"auths":{"127.0.0.1:9480":{}}}`, `{"auths":{` + auth + `}}`},
		{"beside a keychain", `{"credsStore":"desktop"}`, `{"auths":{` + auth + `},"credHelpers":{"127.0.0.1:9480":""},"credsStore":"desktop"}`},
		{"beside a keychain and other helpers", `{"credHelpers":{"gcr.io":"gcloud"},"credsStore":"desktop"}`, `{"auths":{` + auth + `},"credHelpers":{"127.0.0.1:9480":"","gcr.io":"gcloud"},"credsStore":"desktop"}`},
		{"with a helper of its own", `{"credHelpers":{"127.0.0.1:9480":"desktop"}}`, `{"auths":{` + auth + `},"credHelpers":{"127.0.0.1:9480":""}}`},
		{"with helpers of others alone", `{"credHelpers":{"gcr.io":"gcloud"}}`, `{"auths":{` + auth + `},"credHelpers":{"gcr.io":"gcloud"}}`},
	} {
		path := filepath.Join(t.TempDir(), "config.json")
		if tt.old != "" {
			if err := os.WriteFile(path, []byte(tt.old), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := addAuth(path, door); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := json.Compact(&got, text); err != nil || got.String() != tt.want {
			t.Errorf("%s: %s, %v", tt.name, &got, err)
		}
	}
	for _, old := range []string{"x", `{"auths":1}`, `{"credsStore":1}`, `{"credHelpers":1}`} {
		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := addAuth(path, door); fault.CodeOf(err) != fault.DamagedFile {
			t.Errorf("%s: %v", old, err)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != old {
			t.Errorf("%s became %s, %v", old, text, err)
		}
	}
}

func TestALoginGoesWhereDockerIsToldToLook(t *testing.T) {
	home, docker := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("DOCKER_CONFIG", docker)
	term, err := terminal.New(terminal.Config{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	a := &App{Term: term}
	if err := a.installLogin(api.ImageDoor{Address: "127.0.0.1:9480", User: "hearth", Password: "word"}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		filepath.Join(docker, "config.json"): true, filepath.Join(home, ".config", "containers", "auth.json"): true,
		filepath.Join(home, ".docker", "config.json"): false,
	} {
		text, err := os.ReadFile(path)
		if got := err == nil && strings.Contains(string(text), "127.0.0.1:9480"); got != want {
			t.Errorf("%s: %s, %v", path, text, err)
		}
	}
}
