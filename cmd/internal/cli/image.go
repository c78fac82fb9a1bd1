package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/compute/layout"
	"hearth/core/fault"
	"hearth/internal/terminal"
	"hearth/sdk"
)

func (a *App) imageCommand() *cobra.Command {
	ls := &cobra.Command{
		Use: "ls", Short: "The account's images", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Images, error) { return n.Images(ctx) }, imagesRows)
		},
	}
	rm := &cobra.Command{
		Use: "rm NAME[:TAG|@DIGEST]", Short: "Remove an image, and what it alone is made of", Args: cobra.ExactArgs(1),
		Long: `Removes an image. NAME is all that has the name, NAME:TAG one tag, with what it stands
for unless that has another tag. Parts that other images share stay.`,
		RunE: func(c *cobra.Command, args []string) error {
			if !strings.ContainsAny(args[0], ":@") {
				if err := a.Agree(fmt.Sprintf("Remove every image of the name %s?", args[0])); err != nil {
					return err
				}
			}
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			return client.RemoveImage(c.Context(), args[0])
		},
	}
	status := &cobra.Command{
		Use: "status", Short: "Whether the door for docker and its like is open, and where", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.ImageDoor, error) { return n.ImageDoor(ctx) }, imageDoorRows)
		},
	}
	g := group("image", "Container images in the account's storage", a.imagePushCommand(), a.imagePullCommand(), ls, rm, a.imageLoginCommand(), status)
	g.Long = `Keeps container images where your files are: cut up, encrypted, on other people's
computers. docker, podman and skopeo push to the running node and pull from it as from
any registry; ` + "`hearth image login`" + ` shows how. ` + "`hearth image pull debian`" + ` copies one from docker.io or
any other registry. docs/images.md says more.`
	return g
}

func imageDoorRows(d api.ImageDoor) *terminal.Rows {
	switch {
	case d.Open:
		return terminal.Card().Add("Registry", d.Address).Add("User", d.User)
	case d.Problem != "":
		return terminal.Card().Add("Registry", "closed").Add("Problem", d.Problem)
	}
	return terminal.Card().Add("Registry", "closed; the setting [Images] listen in config.toml opens it")
}

func (a *App) imagePushCommand() *cobra.Command {
	var most string
	c := &cobra.Command{
		Use: "push SOURCE [NAME[:TAG]]", Short: "Store an image from files", Args: cobra.RangeArgs(1, 2),
		Long: `Stores an image without docker: SOURCE is a folder or a tar archive in OCI layout, or
what ` + "`docker save`" + ` writes. Without a NAME it is called as in SOURCE, or as the file.
What it costs in 30 days is shown first, as with ` + "`hearth put`" + `; parts that are stored
already are neither sent nor paid again.`,
		Example: `  docker save app:v1 -o app.tar && hearth image push app.tar
  skopeo copy docker-daemon:app:v1 oci:app && hearth image push app app:v1`,
		RunE: func(c *cobra.Command, args []string) error {
			name := ""
			if len(args) == 2 {
				name = args[1]
			}
			return a.imagePush(c.Context(), args[0], name, most)
		},
	}
	priceFlag(c, &most)
	return c
}

func (a *App) imagePush(ctx context.Context, source, name, most string) error {
	_, tag := splitTag(name)
	i, err := layout.Open(source, tag)
	if err != nil {
		return err
	}
	defer i.Close()
	if len(i.Missing) > 0 {
		a.Term.Say("%s names images for other platforms that it doesn't hold: %s; they are left out", source, strings.Join(i.Missing, ", "))
	}
	repo, tag, err := imageName(name, i.Name, source)
	if err != nil {
		return err
	}
	client, err := a.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	m, err := a.storeImage(ctx, client, i, repo, tag, most)
	if err != nil {
		return err
	}
	return a.Term.Show(m, imagesRows(api.Images{Images: []api.Image{m}}))
}

// storeImage has the node keep an image, after its price was shown. An empty tag: it has
// only its digest.
func (a *App) storeImage(ctx context.Context, client *sdk.Client, i *layout.Image, repo, tag, most string) (m api.Image, err error) {
	if err := a.approve(ctx, client, i.Size(), "", most); err != nil {
		return m, err
	}
	name := repo
	if tag != "" {
		name += ":" + tag
	}
	all := newBars(a.Term, false)
	tell, done := all.add(name, i.Size())
	sum, of := int64(0), map[string]int64{} // of all parts, and of each
	err = client.PushImage(ctx, i, repo, tag, func(p layout.Part, sent int64) {
		sum += sent - of[p.Digest.String()]
		if of[p.Digest.String()] = sent; tell != nil {
			tell(api.Transfer{Progress: api.Progress{Bytes: sum}})
		}
	})
	done(err)
	all.wait()
	if err != nil {
		return m, err
	}
	m, err = findImage(ctx, client, repo, i.Digest().String())
	if fault.CodeOf(err) == fault.NotFound {
		err = fault.New(fault.NotFound, "store %s: it was removed meanwhile", name)
	}
	return m, err
}

// findImage finds an image of the account by its digest.
func findImage(ctx context.Context, client *sdk.Client, repo, digest string) (api.Image, error) {
	list, err := client.Images(ctx)
	if err != nil {
		return api.Image{}, err
	}
	for _, m := range list.Images {
		if m.Name == repo && m.Digest == digest {
			return m, nil
		}
	}
	return api.Image{}, fault.New(fault.NotFound, "there is no image %s@%s", repo, digest)
}

// splitTag reads NAME[:TAG].
func splitTag(name string) (repo, tag string) {
	i := strings.LastIndexByte(name, ':')
	if i < 0 || strings.Contains(name[i:], "/") {
		return name, ""
	}
	return name[:i], name[i+1:]
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// imageName is what an image will be called: as wished, else as it is called already
// without the registry it came from, else as its file.
func imageName(wish, own, source string) (repo, tag string, err error) {
	switch {
	case wish != "":
		repo, tag = splitTag(wish)
	case strings.ContainsAny(own, ":/"):
		repo, tag = splitTag(own)
		if host, rest, ok := strings.Cut(repo, "/"); ok && strings.ContainsAny(host, ".:") {
			repo = strings.TrimPrefix(rest, "library/")
		}
	default:
		base := strings.TrimSuffix(filepath.Base(filepath.Clean(source)), ".tar")
		repo, tag = strings.Trim(notInNames.ReplaceAllString(strings.ToLower(base), "-"), "-"), own
	}
	if repo == "" || strings.Contains(repo, "@") {
		return "", "", fault.New(fault.BadRequest, "store %s: say what it is called, as NAME or NAME:TAG", source)
	}
	if tag == "" {
		tag = "latest"
	}
	return repo, tag, nil
}

func imagesRows(all api.Images) *terminal.Rows {
	rows := terminal.Table("NAME", "TAGS", "DIGEST", "SIZE", "PLATFORM", "PUSHED")
	for _, m := range all.Images {
		tags, platforms := strings.Join(m.Tags, ","), strings.Join(m.Platforms, ",")
		if tags == "" {
			tags = "-"
		}
		if platforms == "" {
			platforms = "-"
		}
		rows.Add(m.Name, tags, m.Digest, terminal.Size(m.Size), platforms, terminal.When(m.Pushed))
	}
	return rows
}
