package pull_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hearth/compute/pull"
	"hearth/core/fault"
)

const secret = "correct horse"

func auth(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

// helper puts a program on the PATH that knows one password, and says so of the server
// that it is asked for.
func helper(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-"+name), []byte("#!/bin/sh\nread server\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

func TestLoginsAreFoundWhereDockerAndPodmanKeepThem(t *testing.T) {
	helper(t, "works", `echo "{\"ServerURL\":\"$server\",\"Username\":\"me\",\"Secret\":\"`+secret+`\"}"`)
	helper(t, "token", `echo '{"Username":"<token>","Secret":"refresh"}'`)
	helper(t, "empty", `echo "credentials not found in native keychain"; exit 1`)
	helper(t, "broken", `echo "`+secret+`"; exit 1`)
	helper(t, "garbled", `echo "`+secret+`"`)
	for _, tt := range []struct {
		name, config string // HOST stands for the registry's
		basic        bool
		want         fault.Code
	}{
		{"none", `{}`, false, fault.RegistryRefused},
		{"none, and no tokens", `{}`, true, fault.RegistryRefused},
		{"a password", `{"auths":{"HOST":{"auth":"` + auth("me", secret) + `"}}}`, false, ""},
		{"a password as it is", `{"auths":{"HOST":{"auth":"` + auth("me", secret) + `"}}}`, true, ""},
		{"a wrong one", `{"auths":{"HOST":{"auth":"` + auth("me", "x") + `"}}}`, false, fault.RegistryRefused},
		{"a wrong one as it is", `{"auths":{"HOST":{"auth":"` + auth("me", "x") + `"}}}`, true, fault.RegistryRefused},
		{"another registry's", `{"auths":{"other":{"auth":"` + auth("me", secret) + `"}}}`, false, fault.RegistryRefused},
		{"one of a folder", `{"auths":{"HOST":{"auth":"` + auth("me", "x") + `"},"HOST/team":{"auth":"` + auth("me", secret) + `"}}}`, false, fault.RegistryRefused},
		{"one of a folder alone", `{"auths":{"HOST/team":{"auth":"` + auth("me", secret) + `"}}}`, false, ""},
		{"a helper's", `{"credHelpers":{"HOST":"works"}}`, false, ""},
		{"a keychain's", `{"credsStore":"works"}`, true, ""},
		{"a helper's token", `{"credHelpers":{"HOST":"token"}}`, false, ""},
		{"a file's token", `{"auths":{"HOST":{"identitytoken":"refresh"}}}`, false, ""},
		{"a helper that has none", `{"credHelpers":{"HOST":"empty"}}`, false, fault.RegistryRefused},
		{"a keychain that isn't there", `{"credsStore":"gone","auths":{"HOST":{"auth":"` + auth("me", secret) + `"}}}`, false, ""},
		{"a helper that isn't there", `{"credHelpers":{"HOST":"gone"}}`, false, fault.BadConfig},
		{"a helper that fails", `{"credHelpers":{"HOST":"broken"}}`, false, fault.BadConfig},
		{"a helper that doesn't answer so", `{"credHelpers":{"HOST":"garbled"}}`, false, fault.BadConfig},
		{"not in the keychain, as `hearth image login --install` notes it", `{"credsStore":"broken","credHelpers":{"HOST":""},"auths":{"HOST":{"auth":"` + auth("me", secret) + `"}}}`, false, ""},
		{"a file that is none", `{"auths":"` + secret + `"}`, false, fault.DamagedFile},
		{"a login that is none", `{"auths":{"HOST":{"auth":"` + secret + `"}}}`, false, fault.DamagedFile},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := open(t)
			w.user, w.password, w.basic = "me", secret, tt.basic
			w.image(t, "v1", "layer")
			c := w.config(t, "team/app:v1")
			c.Logins = logins(t, strings.ReplaceAll(tt.config, "HOST", w.host()))
			i, err := pull.Open(t.Context(), c)
			if fault.CodeOf(err) != tt.want {
				t.Fatalf("%s: %v", fault.CodeOf(err), err)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("it tells: %v", err)
			}
			if err == nil {
				whole(t, i)
			}
		})
	}
}

// podman keeps them elsewhere, and docker's file needn't know the registry.
func TestAFileWithoutTheRegistryLeavesItToTheNext(t *testing.T) {
	w := open(t)
	w.user, w.password = "me", secret
	w.image(t, "v1", "layer")
	home := t.TempDir()
	for path, text := range map[string]string{
		".docker/config.json":          `{"auths":{"other":{"auth":"` + auth("x", "y") + `"}}}`,
		".config/containers/auth.json": `{"auths":{"` + w.host() + `":{"auth":"` + auth("me", secret) + `"}}}`,
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(home, path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := pull.FindLogins(func(name string) string {
		if name == "HOME" {
			return home
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	c := w.config(t, "team/app:v1")
	c.Logins = l
	if _, err := pull.Open(t.Context(), c); err != nil {
		t.Error(err)
	}
}

// Whatever leads there, no other host sees a login, and what lies there is taken.
func TestALoginDoesNotFollowARedirect(t *testing.T) {
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		for name, config := range map[string]string{
			"a password": `{"auths":{"HOST":{"auth":"` + auth("me", secret) + `"}}}`, "a token": `{"auths":{"HOST":{"identitytoken":"refresh"}}}`,
		} {
			for _, basic := range []bool{false, true} {
				if basic && name == "a token" {
					continue
				}
				t.Run(fmt.Sprint(name, status, basic), func(t *testing.T) {
					w := open(t)
					w.user, w.password, w.basic = "me", secret, basic
					w.image(t, "v1", "layer")
					config := strings.ReplaceAll(config, "HOST", w.host())
					config = strings.TrimSuffix(config, "}}") + `,"` + strings.TrimPrefix(w.far.URL, "http://") + `":{"auth":"` + auth("me", secret) + `"}}}`
					w.before = redirect(w.far, status)
					c := w.config(t, "team/app:v1")
					c.Logins = logins(t, config)
					i, err := pull.Open(t.Context(), c)
					if err != nil {
						t.Fatal(err)
					}
					whole(t, i)
					for _, q := range w.asked("far", "") {
						if strings.Contains(q, "Bearer") || strings.Contains(q, "Basic") || strings.Contains(q, "refresh") {
							t.Errorf("it was asked %s", q)
						}
					}
					w.elsewhere = func(rw http.ResponseWriter, _ *http.Request) {
						rw.Header().Set("Www-Authenticate", `Basic realm="here"`)
						rw.WriteHeader(http.StatusUnauthorized)
					}
					if _, err := pull.Open(t.Context(), c); fault.CodeOf(err) != fault.RegistryRefused {
						t.Error(err)
					}
					for _, q := range w.asked("far", "") {
						if strings.Contains(q, "Bearer") || strings.Contains(q, "Basic") {
							t.Errorf("it asks for a login, and was asked %s", q)
						}
					}
				})
			}
		}
	}
}

// Nor does what makes the tokens hand them on.
func TestALoginDoesNotFollowWhereItsTokensAreMade(t *testing.T) {
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		for name, config := range map[string]string{
			"a password": `{"auths":{"HOST":{"auth":"` + auth("me", secret) + `"}}}`, "a token": `{"auths":{"HOST":{"identitytoken":"refresh"}}}`,
		} {
			t.Run(fmt.Sprint(name, status), func(t *testing.T) {
				w := open(t)
				w.image(t, "v1", "layer")
				w.tokenOf = redirect(w.far, status)
				c := w.config(t, "team/app:v1")
				c.Logins = logins(t, strings.ReplaceAll(config, "HOST", w.host()))
				if _, err := pull.Open(t.Context(), c); err == nil {
					t.Error("it is taken")
				}
				for _, q := range w.asked("far", "") {
					if strings.Contains(q, "Basic") || strings.Contains(q, "refresh") {
						t.Errorf("it was asked %s", q)
					}
				}
			})
		}
	}
}

func TestALoginGoesNowhereInTheClear(t *testing.T) {
	w := open(t)
	w.image(t, "v1", "layer")
	w.registry.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Www-Authenticate", `Bearer realm="http://192.0.2.1/token"`)
		rw.WriteHeader(http.StatusUnauthorized)
	})
	c := w.config(t, "team/app:v1")
	c.Logins = logins(t, `{"auths":{"`+w.host()+`":{"auth":"`+auth("me", secret)+`"}}}`)
	if _, err := pull.Open(t.Context(), c); fault.CodeOf(err) != fault.RegistryDown || !strings.Contains(err.Error(), "in the clear") {
		t.Error(err)
	}
}
