package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/internal/terminal"
	"hearth/node"
	"hearth/sdk"
)

func (a *app) fsckCommand() *cobra.Command {
	var rebuild, all bool
	var samples int
	c := &cobra.Command{
		Use:   "fsck [hearth://BUCKET[/PREFIX]...]",
		Short: "Compare the list of files with what hosts hold",
		Long: `Asks the hosts of every version of every file, or of those that are named, which
shards they hold. That is their word; --read also reads and verifies stretches of
each file, drawn at random, which costs what reading costs.

A file is healthy when all its shards are held, degraded when some aren't and it can
still be read, lost when too few are left. It is unknown when too many hosts are
silent to tell. What is missing is made anew in the background. The exit status is
not 0 when something is lost.

--rebuild makes the list of files anew from the logs that hosts keep of it, while no
node runs in the folder. The old list stays beside it.`,
		RunE: func(c *cobra.Command, args []string) error {
			if rebuild {
				return a.rebuild(c, args)
			}
			return a.fsck(c, args, samples, all)
		},
	}
	c.Flags().BoolVar(&rebuild, "rebuild", false, "make the list of files anew from the network; no node may run")
	c.Flags().BoolVarP(&all, "all", "a", false, "show healthy files too")
	c.Flags().IntVar(&samples, "read", 0, "so many stretches of 64 KiB of each file are read, at most 16")
	return c
}

// fsckShown is what was found out.
type fsckShown struct {
	Healthy  int           `json:"healthy"`
	Degraded int           `json:"degraded"`
	Unknown  int           `json:"unknown"`
	Lost     int           `json:"lost"`
	Findings []api.Finding `json:"findings"` // without the healthy ones, unless they are asked for
}

func (a *app) fsck(c *cobra.Command, args []string, samples int, all bool) error {
	client, err := a.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	names, err := fsckNames(c.Context(), client, args)
	if err != nil {
		return err
	}
	shown := fsckShown{Findings: []api.Finding{}}
	for _, name := range names {
		q := api.CheckQuery{Prefix: name.Key, Limit: 100, Samples: samples}
		for {
			page, err := client.Check(c.Context(), name.Bucket, q)
			if err != nil {
				return err
			}
			for _, f := range page.Findings {
				shown.take(f, all)
			}
			if page.Next == "" {
				break
			}
			q.After, q.AfterVersion = page.Next, page.NextVersion
		}
	}
	if err := a.Term.Show(shown, shown.rows()); err != nil {
		return err
	}
	if shown.Lost > 0 {
		return fault.New(fault.FilesLost, "check files: %d are lost", shown.Lost)
	}
	return nil
}

// fsckNames are what was named, or every bucket.
func fsckNames(ctx context.Context, client *sdk.Client, args []string) ([]sdk.Name, error) {
	var out []sdk.Name
	for _, arg := range args {
		name, err := sdk.ParseName(arg)
		if err != nil {
			return nil, err
		}
		out = append(out, name)
	}
	if len(args) > 0 {
		return out, nil
	}
	buckets, err := client.Buckets(ctx)
	for _, b := range buckets {
		out = append(out, sdk.Name{Bucket: b.Name})
	}
	return out, err
}

func (s *fsckShown) take(f api.Finding, all bool) {
	switch f.State {
	case "healthy":
		s.Healthy++
		if !all {
			return
		}
	case "degraded":
		s.Degraded++
	case "lost":
		s.Lost++
	default:
		s.Unknown++
	}
	s.Findings = append(s.Findings, f)
}

func (s *fsckShown) rows() *terminal.Rows {
	rows := terminal.Table("NAME", "VERSION", "STATE", "HELD", "NEEDED", "MISSING", "SILENT", "PENDING", "DETAIL")
	for _, f := range s.Findings {
		rows.Add(sdk.Name{Bucket: f.Bucket, Key: f.Key}, f.Version, f.State, f.Held, f.Need, f.Missing, f.Silent, f.Pending, f.Detail)
	}
	return rows.Add(fmt.Sprintf("%d healthy, %d degraded, %d unknown, %d lost", s.Healthy, s.Degraded, s.Unknown, s.Lost))
}

func (a *app) rebuild(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fault.New(fault.BadRequest, "fsck --rebuild: it makes the whole list anew, names have no meaning")
	}
	passphrase, err := a.passphrase()
	if err != nil {
		return err
	}
	log, err := a.logger("warn")
	if err != nil {
		return err
	}
	r, kept, err := node.Rebuild(c.Context(), a.Dir, passphrase, log)
	if err != nil {
		return err
	}
	shown := restoredFrom(r)
	shown.Kept = kept
	return a.Term.Show(shown, shown.rows())
}

func when(unix int64) string { return terminal.When(time.Unix(unix, 0)) }
