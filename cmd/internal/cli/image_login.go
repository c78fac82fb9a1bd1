package cli

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/internal/durable"
)

func (a *App) imageLoginCommand() *cobra.Command {
	var install, word bool
	c := &cobra.Command{
		Use: "login", Short: "What docker, podman and skopeo need", Args: cobra.NoArgs,
		Long: `Shows how docker, podman and skopeo log in at the running node, which is their registry
at a local address. --install writes it into their own files: config.json in $DOCKER_CONFIG
or ~/.docker, and ~/.config/containers.`,
		Example: `  hearth image login --install
  hearth image login --password | docker login -u hearth --password-stdin 127.0.0.1:9480`,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			d, err := client.ImageLogin(c.Context())
			switch {
			case err != nil:
				return err
			case word:
				_, err = fmt.Fprintln(a.Term.Out(), d.Password)
				return err
			case install:
				return a.installLogin(d)
			}
			if !a.Term.Table() {
				return a.Term.Show(d, imageDoorRows(d))
			}
			return writeLines(a.Term.Out(), loginLines(d))
		},
	}
	c.Flags().BoolVar(&install, "install", false, "write it into the clients' own files")
	c.Flags().BoolVar(&word, "password", false, "print the password alone")
	c.MarkFlagsMutuallyExclusive("install", "password")
	return c
}

func writeLines(to io.Writer, lines []string) error {
	_, err := io.WriteString(to, strings.Join(lines, "\n")+"\n")
	return err
}

func loginLines(d api.ImageDoor) []string {
	in := "hearth image login --password | "
	return []string{
		"# docker takes a registry at a loopback address without TLS by itself:",
		in + "docker login -u " + d.User + " --password-stdin " + d.Address,
		"docker tag app " + d.Address + "/app && docker push " + d.Address + "/app",
		"",
		"# podman and skopeo have to be told, or `hearth image login --install` tells them:",
		in + "podman login --tls-verify=false -u " + d.User + " --password-stdin " + d.Address,
		"podman push --tls-verify=false app " + d.Address + "/app",
		in + "skopeo login --tls-verify=false -u " + d.User + " --password-stdin " + d.Address,
		"skopeo copy --dest-tls-verify=false oci:folder docker://" + d.Address + "/app",
	}
}

// installLogin writes the password where the clients look for it, and that podman and
// skopeo needn't ask for TLS.
func (a *App) installLogin(d api.ImageDoor) error {
	home, err := os.UserHomeDir()
	if err != nil {
		return fmt.Errorf("install login: %w", err)
	}
	docker := os.Getenv("DOCKER_CONFIG")
	if docker == "" {
		docker = filepath.Join(home, ".docker")
	}
	for _, path := range []string{filepath.Join(docker, "config.json"), filepath.Join(home, ".config", "containers", "auth.json")} {
		if err := addAuth(path, d); err != nil {
			return err
		}
		a.Term.Say("wrote the login for %s into %s", d.Address, path)
	}
	path := filepath.Join(home, ".config", "containers", "registries.conf.d", "hearth.conf")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("install login: %w", err)
	}
	if err := durable.Write(path, fmt.Appendf(nil, "[[registry]]\nlocation = %q\ninsecure = true # it is on this machine\n", d.Address), 0o600); err != nil {
		return err
	}
	a.Term.Say("wrote %s", path)
	a.Term.Say("images' names begin with %s/ now, as in: docker push %s/app", d.Address, d.Address)
	return nil
}

// addAuth puts a login into a file of docker's form; the rest stays as it is. Where
// docker keeps passwords elsewhere it doesn't look into the file, unless the file says
// that this one has no helper.
func addAuth(path string, d api.ImageDoor) error {
	if to, err := filepath.EvalSymlinks(path); err == nil {
		path = to
	}
	all := map[string]json.RawMessage{}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("install login: %w", err)
	}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &all); err != nil {
			return fault.New(fault.DamagedFile, "install login: %s isn't JSON: %w", path, err)
		}
	}
	auths := map[string]json.RawMessage{}
	if old := all["auths"]; old != nil {
		if err := json.Unmarshal(old, &auths); err != nil {
			return fault.New(fault.DamagedFile, "install login: %s: auths: %w", path, err)
		}
	}
	word, err := json.Marshal(map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(d.User + ":" + d.Password))})
	if err != nil {
		return err
	}
	auths[d.Address] = word
	if all["auths"], err = json.Marshal(auths); err != nil {
		return err
	}
	var elsewhere string
	if old := all["credsStore"]; old != nil {
		if err := json.Unmarshal(old, &elsewhere); err != nil {
			return fault.New(fault.DamagedFile, "install login: %s: credsStore: %w", path, err)
		}
	}
	helpers := map[string]json.RawMessage{}
	if old := all["credHelpers"]; old != nil {
		if err := json.Unmarshal(old, &helpers); err != nil {
			return fault.New(fault.DamagedFile, "install login: %s: credHelpers: %w", path, err)
		}
	}
	if elsewhere != "" || helpers[d.Address] != nil {
		helpers[d.Address] = json.RawMessage(`""`)
		if all["credHelpers"], err = json.Marshal(helpers); err != nil {
			return err
		}
	}
	if text, err = json.MarshalIndent(all, "", "\t"); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("install login: %w", err)
	}
	return durable.Write(path, append(text, '\n'), 0o600)
}
