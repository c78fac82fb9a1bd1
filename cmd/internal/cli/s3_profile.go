package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"hearth/core/fault"
	"hearth/internal/durable"
	"hearth/internal/terminal"
)

// A s3Profile is what a client needs to use the door.
type s3Profile struct {
	Endpoint    string `json:"endpoint"`
	Access      string `json:"access_key"`
	Secret      string `json:"secret_key"`
	Region      string `json:"region"`
	Certificate string `json:"certificate,omitempty"`
}

// profile asks for the door and a key; an empty word is the usual key.
func (a *App) profile(ctx context.Context, args []string) (s3Profile, error) {
	n, err := a.Client()
	if err != nil {
		return s3Profile{}, err
	}
	defer n.Close()
	door, err := n.S3(ctx)
	if err != nil {
		return s3Profile{}, err
	}
	if !door.Open {
		return s3Profile{}, fault.New(fault.NotRunning, "the S3 door is closed: `hearth s3 serve` opens it, or the setting [S3] listen")
	}
	which := ""
	if len(args) == 1 {
		which = args[0]
	}
	key, err := n.S3Secret(ctx, which)
	if err != nil {
		return s3Profile{}, err
	}
	return s3Profile{door.Endpoint, key.Access, key.Secret, door.Region, door.Certificate}, nil
}

// lines are what a shell evaluates. The words hold nothing that a shell minds.
func (p s3Profile) lines() []string {
	out := []string{
		"export AWS_ENDPOINT_URL=" + p.Endpoint,
		"export AWS_ACCESS_KEY_ID=" + p.Access,
		"export AWS_SECRET_ACCESS_KEY=" + p.Secret,
		"export AWS_REGION=" + p.Region,
	}
	if p.Certificate != "" {
		out = append(out, "export AWS_CA_BUNDLE="+quoted(p.Certificate))
	}
	return out
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// printProfile shows lines, or the profile itself in the other formats.
func (a *App) printProfile(p s3Profile, lines []string) error {
	if !a.Term.Table() {
		return a.Term.Show(p, terminal.Card())
	}
	_, err := fmt.Fprintln(a.Term.Out(), strings.Join(lines, "\n"))
	return err
}

func (a *App) s3EnvCommand() *cobra.Command {
	return &cobra.Command{
		Use: "env [KEY]", Short: "Print what clients read from the environment", Args: cobra.MaximumNArgs(1),
		Example: "  eval $(hearth s3 env)\n  aws s3 ls",
		RunE: func(c *cobra.Command, args []string) error {
			p, err := a.profile(c.Context(), args)
			if err != nil {
				return err
			}
			return a.printProfile(p, p.lines())
		},
	}
}

// An ini is a file of sections that a client reads.
type ini struct {
	path    string // below the home folder
	section string
	lines   []string
}

// tool is a command that prints sections of files, or installs them.
func (a *App) tool(use, short, example string, files func(p s3Profile) []ini, then string) *cobra.Command {
	var install bool
	c := &cobra.Command{
		Use: use + " [KEY]", Short: short, Example: example, Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := a.profile(c.Context(), args)
			if err != nil {
				return err
			}
			home, err := os.UserHomeDir()
			if err != nil {
				return fmt.Errorf("find home folder: %w", err)
			}
			var shown []string
			for _, f := range files(p) {
				path := filepath.Join(home, f.path)
				if !install {
					shown = append(append(shown, "# "+path, "["+f.section+"]"), f.lines...)
					continue
				}
				if err := f.write(path); err != nil {
					return err
				}
				a.Term.Say("wrote section [%s] of %s", f.section, path)
			}
			if install {
				a.Term.Say("%s", then)
				return nil
			}
			return a.printProfile(p, shown)
		},
	}
	c.Flags().BoolVar(&install, "install", false, "write it into the client's own files")
	return c
}

// write replaces the section in the file, or adds it; the rest stays as it is.
func (f ini) write(path string) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("install profile: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("install profile: %w", err)
	}
	return durable.Write(path, []byte(f.merge(string(old))), 0o600)
}

func (f ini) merge(old string) string {
	var out []string
	skip := false
	for line := range strings.SplitSeq(strings.TrimRight(old, "\n"), "\n") {
		if trimmed := strings.TrimSpace(line); strings.HasPrefix(trimmed, "[") {
			skip = trimmed == "["+f.section+"]"
		}
		if !skip {
			out = append(out, line)
		}
	}
	text := strings.TrimSpace(strings.Join(out, "\n"))
	if text != "" {
		text += "\n\n"
	}
	return text + "[" + f.section + "]\n" + strings.Join(f.lines, "\n") + "\n"
}

func (a *App) s3AWSCommand() *cobra.Command {
	return a.tool("aws", "The AWS tools' profile", "  hearth s3 aws --install\n  aws --profile hearth s3 ls", func(p s3Profile) []ini {
		config := []string{"region = " + p.Region, "endpoint_url = " + p.Endpoint, "s3 =", "  addressing_style = path", "  signature_version = s3v4"}
		if p.Certificate != "" {
			config = append(config, "ca_bundle = "+p.Certificate)
		}
		return []ini{
			{".aws/config", "profile hearth", config},
			{".aws/credentials", "hearth", []string{"aws_access_key_id = " + p.Access, "aws_secret_access_key = " + p.Secret}},
		}
	}, "Use it with --profile hearth, or export AWS_PROFILE=hearth.")
}

func (a *App) s3RcloneCommand() *cobra.Command {
	return a.tool("rclone", "rclone's remote", "  hearth s3 rclone --install\n  rclone sync photos hearth:photos", func(p s3Profile) []ini {
		return []ini{{".config/rclone/rclone.conf", "hearth", []string{
			"type = s3", "provider = Other", "access_key_id = " + p.Access, "secret_access_key = " + p.Secret,
			"endpoint = " + p.Endpoint, "region = " + p.Region, "force_path_style = true", "acl = private",
		}}}
	}, "Use it as hearth:BUCKET/PATH.")
}

func (a *App) s3CmdCommand() *cobra.Command {
	return a.tool("s3cmd", "s3cmd's configuration", "  hearth s3 s3cmd --install\n  s3cmd -c ~/.s3cfg-hearth ls", func(p s3Profile) []ini {
		host := p.Endpoint[strings.Index(p.Endpoint, "://")+3:]
		lines := []string{
			"access_key = " + p.Access, "secret_key = " + p.Secret, "host_base = " + host, "host_bucket = " + host,
			"bucket_location = " + p.Region, "signature_v2 = False", "use_https = " + map[bool]string{true: "True", false: "False"}[strings.HasPrefix(p.Endpoint, "https:")],
		}
		if p.Certificate != "" {
			lines = append(lines, "ca_certs_file = "+p.Certificate)
		}
		return []ini{{".s3cfg-hearth", "default", lines}}
	}, "Use it with s3cmd -c ~/.s3cfg-hearth.")
}

func (a *App) s3ResticCommand() *cobra.Command {
	return &cobra.Command{
		Use: "restic [KEY]", Short: "Print restic's environment", Args: cobra.MaximumNArgs(1),
		Example: "  eval $(hearth s3 restic)\n  restic -r s3:$AWS_ENDPOINT_URL/backups init",
		RunE: func(c *cobra.Command, args []string) error {
			p, err := a.profile(c.Context(), args)
			if err != nil {
				return err
			}
			lines := append(p.lines(), "export AWS_DEFAULT_REGION="+p.Region)
			if p.Certificate != "" {
				lines = append(lines, "export RESTIC_CACERT="+quoted(p.Certificate))
			}
			lines = append(lines, "# restic -r s3:"+p.Endpoint+"/BUCKET init")
			return a.printProfile(p, lines)
		},
	}
}
