package cli

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/internal/size"
	"hearth/internal/terminal"
	"hearth/sdk"
)

func (a *App) s3Command() *cobra.Command {
	status := &cobra.Command{
		Use: "status", Short: "Whether the S3 door is open, and where", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.S3Door, error) { return n.S3(ctx) }, doorCard)
		},
	}
	g := group("s3", "The door for S3 tools", a.s3ServeCommand(), status,
		group("keys", "Keys of the S3 door", a.s3KeyAddCommand(), a.s3KeyLsCommand(), a.s3KeyRmCommand()),
		a.s3EnvCommand(), a.s3AWSCommand(), a.s3RcloneCommand(), a.s3ResticCommand(), a.s3CmdCommand())
	g.Long = `Every S3 tool works with what Hearth stores: the running node answers S3 requests at a
local address. The setting [S3] listen in config.toml keeps the door open; so does
` + "`hearth s3 serve`" + ` until Ctrl-C. docs/s3.md lists what is there and what isn't.`
	g.Example = `  hearth s3 serve                                     open it, until Ctrl-C
  eval $(hearth s3 env)                               for programs that read AWS_...
  hearth s3 keys add backup --bucket backups --quota 50GB --expires 90d
  hearth s3 aws backup --install                      profile "hearth" of the AWS tools`
	return g
}

func doorCard(d api.S3Door) *terminal.Rows {
	if !d.Open {
		rows := terminal.Card().Add("S3 door", "closed; `hearth s3 serve` opens it")
		if d.Problem != "" {
			rows.Add("Problem", d.Problem)
		}
		return rows
	}
	rows := terminal.Card().Add("Endpoint", d.Endpoint).Add("Region", d.Region).Add("Buckets by host", "BUCKET."+d.Domain)
	if d.Website != "" {
		rows.Add("Websites", "BUCKET."+d.Website)
	}
	if d.Certificate != "" {
		rows.Add("Certificate", d.Certificate+" (self-signed: clients have to be told)")
	}
	return rows
}

func (a *App) s3ServeCommand() *cobra.Command {
	var at api.S3Listen
	c := &cobra.Command{
		Use: "serve", Short: "Open the S3 door of the running node, until Ctrl-C", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			n, err := a.Client()
			if err != nil {
				return err
			}
			defer n.Close()
			return a.s3Serve(c.Context(), n, at)
		},
	}
	c.Flags().StringVar(&at.Listen, "listen", "", "host:port; default "+api.S3At)
	c.Flags().BoolVar(&at.TLS, "tls", false, "with the certificate of the settings, or a self-signed one")
	return c
}

// s3Serve opens the door, or finds it open, and waits. What it opened it closes.
func (a *App) s3Serve(ctx context.Context, n *sdk.Client, at api.S3Listen) error {
	door, err := n.S3(ctx)
	if err != nil {
		return err
	}
	opened := !door.Open
	switch {
	case opened:
		if door, err = n.OpenS3(ctx, at); err != nil {
			return err
		}
	case at.Listen != "" && !strings.HasSuffix(door.Endpoint, "://"+at.Listen):
		return fault.New(fault.Exists, "open S3 door: it is open at %s already", door.Endpoint)
	}
	if err := a.Term.Show(door, doorCard(door)); err != nil {
		return err
	}
	return a.keepOpen(ctx, opened, "`hearth s3 env` prints what clients need.", n.CloseS3)
}

func (a *App) s3KeyAddCommand() *cobra.Command {
	var wish api.S3KeyWish
	var quota, expires string
	c := &cobra.Command{
		Use: "add [NAME]", Short: "Make a key, whole or narrowed", Args: cobra.MaximumNArgs(1),
		Long: `Makes a key and prints its secret, which ` + "`hearth s3 env NAME`" + ` prints again. Each
flag takes something away; a key that nothing is taken from may do everything.`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				wish.Name = args[0]
			}
			var err error
			if wish.Quota, err = quotaOf(quota); err != nil {
				return err
			}
			if wish.Expires, err = until(expires, time.Now()); err != nil {
				return err
			}
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.S3Key, error) { return n.AddS3Key(ctx, wish) }, keyCard)
		},
	}
	f := c.Flags()
	f.StringVar(&wish.Bucket, "bucket", "", "only this bucket")
	f.StringVar(&wish.Prefix, "prefix", "", "only keys that begin so")
	f.BoolVar(&wish.ReadOnly, "read-only", false, "only get and list")
	f.StringVar(&quota, "quota", "", "at most so much in all that the key reaches, like 50GB")
	f.StringVar(&expires, "expires", "", "after a time like 24h or 90d, or on a day like 2027-01-31")
	return c
}

// quotaOf reads a quota; empty is none. Zero would mean none too, so it is refused.
func quotaOf(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := size.Parse(s)
	if err == nil && n == 0 {
		err = fault.New(fault.BadRequest, "add key: a quota of nothing: --read-only makes a key that stores nothing")
	}
	return int64(n), err
}

// until reads a time from now, or a day. Empty is for ever.
func until(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n < 1e6 {
			return now.AddDate(0, 0, n), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now.Add(d), nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(form, s); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fault.New(fault.BadRequest, "read time %q: write it like 24h, 90d or 2027-01-31", s)
}

func keyCard(k api.S3Key) *terminal.Rows {
	rows := terminal.Card().Add("Access key", k.Access)
	if k.Secret != "" {
		rows.Add("Secret key", k.Secret)
	}
	rows.Add("Name", k.Name).Add("May", strings.Join(k.Operations, ", "))
	if k.Bucket != "" || k.Prefix != "" {
		rows.Add("Reaches", reaches(k))
	}
	if k.Quota != nil {
		rows.Add("Quota", terminal.Size(*k.Quota))
	}
	if k.Expires != nil {
		rows.Add("Ends", terminal.When(*k.Expires))
	}
	return rows
}

func reaches(k api.S3Key) string {
	if k.Bucket == "" && k.Prefix == "" {
		return "everything"
	}
	bucket := k.Bucket
	if bucket == "" {
		bucket = "*"
	}
	return "hearth://" + bucket + "/" + k.Prefix
}

func (a *App) s3KeyLsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "The keys, without their secrets", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.S3Keys, error) { return n.S3Keys(ctx) }, func(k api.S3Keys) *terminal.Rows {
				rows := terminal.Table("ACCESS KEY", "NAME", "REACHES", "MAY", "QUOTA", "ENDS", "MADE")
				for _, k := range k.Keys {
					quota, ends := "-", "-"
					if k.Quota != nil {
						quota = terminal.Size(*k.Quota)
					}
					if k.Expires != nil {
						ends = terminal.When(*k.Expires)
					}
					rows.Add(k.Access, k.Name, reaches(k), strings.Join(k.Operations, ","), quota, ends, terminal.When(k.Created))
				}
				return rows
			})
		},
	}
}

func (a *App) s3KeyRmCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rm KEY", Short: "Revoke a key, by its access key or name", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := a.Client()
			if err != nil {
				return err
			}
			defer n.Close()
			all, err := n.S3Keys(c.Context())
			if err != nil {
				return err
			}
			for _, k := range all.Keys {
				if k.Access == args[0] || k.Name == args[0] {
					return n.RemoveS3Key(c.Context(), k.Access)
				}
			}
			return fault.New(fault.NotFound, "there is no key %s: `hearth s3 keys ls` shows those there are", args[0])
		},
	}
}
