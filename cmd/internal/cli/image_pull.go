package cli

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/compute/pull"
	"hearth/sdk"
)

type pullFlags struct {
	all, insecure bool
	most          string // --max-price
}

func (a *App) imagePullCommand() *cobra.Command {
	var f pullFlags
	c := &cobra.Command{
		Use: "pull [REGISTRY/]NAME[:TAG|@sha256:...] [NAME[:TAG]]", Short: "Copy an image from another registry", Args: cobra.RangeArgs(1, 2),
		Long: `Copies an image from a registry of the public net into the account's storage, bit for
bit. Without a REGISTRY it is docker.io's, as with docker; here it is called as there,
without the registry. Of an image for several platforms those that hosts run are taken,
linux/amd64 and linux/arm64. What it costs in 30 days is shown first, as with
` + "`hearth put`" + `; parts that are stored already are neither fetched nor paid again.

Logins are read where docker, podman and skopeo keep them (docker login, podman login).`,
		Example: `  hearth image pull debian:12
  hearth image pull ghcr.io/team/app:v1 app:v1
  hearth image pull localhost:5000/app`,
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			wish := ""
			if len(args) == 2 {
				wish = args[1]
			}
			m, _, err := a.imagePull(c.Context(), client, args[0], wish, f)
			if err != nil {
				return err
			}
			return a.Term.Show(m, imagesRows(api.Images{Images: []api.Image{m}}))
		},
	}
	c.Flags().BoolVar(&f.all, "all", false, "every platform, not only those that hosts run")
	c.Flags().BoolVar(&f.insecure, "insecure", false, "plain HTTP, also where the registry isn't on this machine")
	priceFlag(c, &f.most)
	return c
}

// imagePull copies an image, and says what it is called here.
func (a *App) imagePull(ctx context.Context, client *sdk.Client, from, wish string, f pullFlags) (m api.Image, as string, err error) {
	name, err := pull.Parse(from)
	if err != nil {
		return m, "", err
	}
	logins, err := pull.FindLogins(os.Getenv)
	if err != nil {
		return m, "", err
	}
	i, err := pull.Open(ctx, pull.Config{Name: name, All: f.all, Insecure: f.insecure, Logins: logins})
	if err != nil {
		return m, "", err
	}
	defer i.Close()
	if len(i.Missing) > 0 {
		a.Term.Say("%s has images for other platforms too: %s; they are left out, --all takes them", name, strings.Join(i.Missing, ", "))
	}
	if name.Digest != "" && i.Digest() != name.Digest {
		a.Term.Say("what is taken of %s is %s", name.Digest, i.Digest())
	}
	repo, tag := name.Short(), name.Tag
	if wish != "" {
		if repo, tag, err = imageName(wish, "", from); err != nil {
			return m, "", err
		}
	}
	as = repo + "@" + i.Digest().String()
	if tag != "" {
		as = repo + ":" + tag
	}
	m, err = findImage(ctx, client, repo, i.Digest().String())
	if err == nil && (tag == "" || slices.Contains(m.Tags, tag)) {
		a.Term.Say("%s is here already", as)
		return m, as, nil
	}
	a.Term.Say("pulling %s", name)
	m, err = a.storeImage(ctx, client, i, repo, tag, f.most)
	return m, as, err
}

// ownImage is what an image is called in the account: one of another registry is pulled
// first.
func (a *App) ownImage(ctx context.Context, client *sdk.Client, image, most string) (string, error) {
	if !pull.Foreign(image) {
		return image, nil
	}
	if door, err := client.ImageDoor(ctx); err == nil && door.Address != "" {
		if own, ok := strings.CutPrefix(image, door.Address+"/"); ok {
			return own, nil
		}
	}
	_, as, err := a.imagePull(ctx, client, image, "", pullFlags{most: most})
	return as, err
}
