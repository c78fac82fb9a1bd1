package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"hearth/cmd/internal/cli"
	"hearth/core/fault"
	"hearth/internal/terminal"
	"hearth/node"
)

func (a *app) hostMoveCommand() *cobra.Command {
	var undo bool
	c := &cobra.Command{
		Use: "move FOLDER", Short: "Move this node to another disk: identity, data and all", Args: cobra.MaximumNArgs(1),
		Long: `Copies the node's folder to a new FOLDER and compares every file with what was read.
Stop the node first. When all of it is on the disk, the old folder is marked as moved
and doesn't start any more; nothing in it is changed or deleted. Cut off by whatever,
the same command goes on where it was.

--undo takes the mark away: only when the copy is gone and never ran, because two
copies of one host that run lose its leases.`,
		Example: `  hearth host move /mnt/disk2/hearth
  hearth --dir /mnt/disk2/hearth up`,
		RunE: func(c *cobra.Command, args []string) error {
			if undo {
				return a.undoMove()
			}
			if len(args) != 1 {
				return fault.New(fault.BadRequest, "move: name the new folder, like /mnt/disk2/hearth")
			}
			err := node.Move(c.Context(), node.MoveConfig{Dir: a.Dir, To: args[0], Tell: a.tellBytes("copied")})
			if err != nil {
				return err
			}
			return a.showMoved(args[0])
		},
	}
	c.Flags().BoolVar(&undo, "undo", false, "have the node run here again; its copy must be gone")
	return c
}

type movedShown struct {
	From string `json:"from,omitempty"`
	To   string `json:"to"`
}

func (a *app) showMoved(to string) error {
	rows := terminal.Card().Add("Node", to).Add("Start it", "hearth --dir "+to+" up").Add("Old folder", a.Dir+": it doesn't start any more; delete it when the new one runs")
	return a.Term.Show(movedShown{a.Dir, to}, rows)
}

func (a *app) undoMove() error {
	if err := a.Term.Confirm(a.Yes, "A copy of this host that has run, or will, loses its leases.", "undo"); err != nil {
		return err
	}
	return node.TakeBack(a.Dir)
}

func (a *app) hostExportCommand() *cobra.Command {
	return &cobra.Command{
		Use: "export FILE", Short: "Write this node as one stream, for `hearth host import` on another machine", Args: cobra.ExactArgs(1),
		Long: `Writes the node's folder, keys included, into FILE or, with -, to standard output.
Stop the node first. Whoever has the stream has the host: don't leave it lying about.
From then on the node doesn't start here; ` + "`hearth host move --undo`" + ` takes that back.`,
		Example: `  hearth host export - | ssh new-machine hearth host import -`,
		RunE: func(c *cobra.Command, args []string) error {
			to, end, err := a.exportTo(args[0])
			if err != nil {
				return err
			}
			err = node.Export(c.Context(), node.MoveConfig{Dir: a.Dir, Tell: a.tellBytes("written")}, to)
			if e := end(err == nil); err == nil {
				err = e
			}
			return err
		},
	}
}

// exportTo opens where a stream goes. A file is new, for the owner's eyes, and kept
// only when it is whole.
func (a *app) exportTo(path string) (io.Writer, func(whole bool) error, error) {
	if path == "-" {
		return a.Term.Out(), func(bool) error { return nil }, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, cli.FileFault("export", err)
	}
	return f, func(whole bool) error {
		err := f.Sync()
		if e := f.Close(); err == nil {
			err = e
		}
		if !whole {
			return os.Remove(path)
		}
		return err
	}, nil
}

func (a *app) hostImportCommand() *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "Make the node's folder of what `hearth host export` wrote", Args: cobra.ExactArgs(1),
		Long: `Reads FILE, or standard input with -, into the node's folder (--dir), which mustn't be
there yet. Every file is compared with its sum; a stream that was cut off leaves nothing.`,
		RunE: func(c *cobra.Command, args []string) error {
			from := a.Term.In()
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return cli.FileFault("import", err)
				}
				defer f.Close()
				from = f
			}
			if err := a.importFrom(c.Context(), from); err != nil {
				return err
			}
			return a.Term.Show(movedShown{To: a.Dir}, terminal.Card().Add("Node", a.Dir).Add("Start it", "hearth up"))
		},
	}
}

func (a *app) importFrom(ctx context.Context, from io.Reader) error {
	if err := node.Import(ctx, from, a.Dir); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	return nil
}

// tellBytes says now and again how far something long is.
func (a *app) tellBytes(what string) func(done, total int64) {
	var said int64
	return func(done, total int64) {
		if done-said >= max(total/10, 1<<30) {
			said = done
			a.Term.Say("%s %s of %s", what, terminal.Size(done), terminal.Size(total))
		}
	}
}
