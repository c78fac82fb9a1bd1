package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/share"
	"hearth/internal/terminal"
	"hearth/sdk"
)

func (a *App) shareCommand() *cobra.Command {
	var expires, pay, quota, endpoint string
	var prefix, write bool
	c := &cobra.Command{
		Use: "share hearth://BUCKET/KEY", Short: "Give somebody a link to what you have stored", Args: cobra.ExactArgs(1),
		Long: `Prints a link. Who has it reads the object with ` + "`hearth get LINK`" + ` and a node of their own, until
the link ends or is revoked, also while this machine is off; what they read they pay
on leases of their own, or you do with --pay. A link shows what was there when it was made: what is written
later has other keys. What was read stays read, and a link can be passed on.

With --write it is a link for ` + "`hearth put FILE LINK`" + `: who has it puts objects under the prefix,
within the quota, while this node's S3 door is open; they can neither read nor remove.`,
		Example: `  hearth share hearth://photos/cat.jpg --expires 30d
  hearth share hearth://photos/2026/ --prefix
  hearth share hearth://photos/cat.jpg --pay '2 ember'
  hearth share hearth://photos/inbox/ --write --quota 5GB
  hearth share ls
  hearth share revoke 5f0c...`,
		RunE: func(c *cobra.Command, args []string) error {
			name, err := sdk.ParseName(args[0])
			if err != nil {
				return err
			}
			until, err := endOf(expires, time.Now())
			if err != nil {
				return err
			}
			if write {
				if pay != "" || prefix {
					return fault.New(fault.BadRequest, "share --write: it is for a prefix and at your cost anyway: --pay and --prefix don't go with it")
				}
				return a.shareWrite(c, name, until, quota, endpoint)
			}
			w := api.ShareWish{Bucket: name.Bucket, Key: name.Key, Prefix: prefix, Until: until}
			if pay != "" {
				amount, err := money.Parse(pay)
				if err != nil {
					return fault.New(fault.BadRequest, "read --pay: %w", err)
				}
				most := api.MoneyOf(amount)
				w.Pay = &most
				a.Term.Say("Reading costs you at most %s, put aside now; what isn't used returns when the link has ended.", most)
			}
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Share, error) { return n.Share(ctx, w) }, shareRows)
		},
	}
	c.Flags().StringVar(&expires, "expires", "7d", "when the link ends: a time from now like 7d or 12h, or a date; at most 366 days ahead")
	c.Flags().BoolVar(&prefix, "prefix", false, "everything whose key begins with KEY, as it is now")
	c.Flags().StringVar(&pay, "pay", "", "you pay for reading, at most so much in all, like '2 ember'; without it readers pay")
	c.Flags().BoolVar(&write, "write", false, "a link for putting objects under the prefix KEY, at this node's S3 door while it is open, and for nothing else")
	c.Flags().StringVar(&quota, "quota", "1GB", "with --write: at most so much in all under the prefix")
	c.Flags().StringVar(&endpoint, "endpoint", "", "with --write: how others reach the S3 door, like https://door.example; default its own address")
	ls := &cobra.Command{
		Use: "ls", Short: "The links of the account that hold", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Shares, error) { return n.Shares(ctx) }, sharesRows)
		},
	}
	revoke := &cobra.Command{
		Use: "revoke SERIAL", Short: "End a link now; what was read stays read", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Revoked, error) { return n.RevokeShare(ctx, args[0]) }, revokedRows)
		},
	}
	c.AddCommand(ls, revoke)
	return c
}

func shareRows(s api.Share) *terminal.Rows {
	return terminal.Card().Add("Shared", sdkName(s.Name)).Add("Objects", s.Objects).Add("Size", terminal.Size(s.Bytes)).
		Add("You pay", payOf(s)).Add("Until", terminal.When(s.Until)).Add("Serial", s.Serial).Add("Link", s.Link)
}

func sharesRows(all api.Shares) *terminal.Rows {
	rows := terminal.Table("SERIAL", "NAME", "OBJECTS", "SIZE", "YOU PAY", "UNTIL")
	for _, s := range all.Shares {
		rows.Add(s.Serial, sdkName(s.Name), s.Objects, terminal.Size(s.Bytes), payOf(s), terminal.When(s.Until))
	}
	return rows
}

// payOf is what reading a link may cost its owner.
func payOf(s api.Share) string {
	if s.Pay.Amount == "0" {
		return "nothing"
	}
	return "at most " + s.Pay.String()
}

func revokedRows(r api.Revoked) *terminal.Rows {
	rows := terminal.Card().Add("Revoked", sdkName(r.Share.Name)).Add("Serial", r.Share.Serial)
	if len(r.Untold) > 0 {
		rows.Add("Not told yet", strings.Join(r.Untold, ", "))
	}
	return rows
}

func sdkName(name string) string { return "hearth://" + name }

// isLink says whether an argument of get is a link.
func isLink(s string) bool { return share.Is(s) }

// getLink reads all that a link opens: one object into a file or standard output,
// several into a folder.
func (a *App) getLink(ctx context.Context, client *sdk.Client, link, to string, force bool) error {
	l, err := client.OpenLink(ctx, link)
	if err != nil {
		return err
	}
	_, prefix, _ := strings.Cut(l.Name, "/")
	single := len(l.Objects) == 1 && l.Objects[0].Key == prefix
	if to == "-" {
		if !single {
			return fault.New(fault.BadRequest, "get a link to %d objects: give a folder", len(l.Objects))
		}
		return client.ReadLink(ctx, link, prefix, a.Term.Out())
	}
	if single {
		file := to
		if info, err := os.Stat(file); file == "" || err == nil && info.IsDir() {
			file = filepath.Join(file, path.Base(prefix))
		}
		return a.linkedFile(ctx, client, link, prefix, file, force)
	}
	inside := prefix[:strings.LastIndexByte(prefix, '/')+1]
	for _, o := range l.Objects {
		local := filepath.FromSlash(strings.TrimPrefix(o.Key, inside))
		if !filepath.IsLocal(local) {
			return fault.New(fault.BadName, "get a link: the key %q would lead out of the folder", o.Key)
		}
		file := filepath.Join(to, local)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			return FileFault("get", err)
		}
		if err := a.linkedFile(ctx, client, link, o.Key, file, force); err != nil {
			return err
		}
	}
	a.Term.Say("%d files of %s", len(l.Objects), sdkName(l.Name))
	return nil
}

// linkedFile reads an object of a link beside the target, which takes the target's
// name when it is whole.
func (a *App) linkedFile(ctx context.Context, client *sdk.Client, link, key, file string, force bool) error {
	return whole(file, force, func(w io.Writer) error { return client.ReadLink(ctx, link, key, w) })
}

// whole makes a file of what write gives; it has its name only when it is whole.
func whole(file string, force bool, write func(io.Writer) error) (err error) {
	if _, err := os.Lstat(file); err == nil && !force {
		return fault.New(fault.Exists, "get: %s is there already; --force replaces it", file)
	}
	part, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".part-*")
	if err != nil {
		return FileFault("get", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(part.Name()))
		}
	}()
	if err := write(part); err != nil {
		part.Close()
		return err
	}
	if err := errors.Join(part.Chmod(0o644), part.Close()); err != nil {
		return FileFault("get", err)
	}
	return os.Rename(part.Name(), file)
}
