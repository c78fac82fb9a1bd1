package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"hearth/core/fault"
	"hearth/internal/terminal"
	"hearth/internal/version"
)

func (a *App) explainCommand() *cobra.Command {
	var all, markdown bool
	c := &cobra.Command{
		Use: "explain [CODE]", Short: "What an error code means and what to do, without a network", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var words []string
			for _, e := range fault.All() {
				words = append(words, string(e.Code))
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case markdown:
				return explainMarkdown(a.Term.Out())
			case all || len(args) == 0:
				return a.explainAll()
			}
			return a.explain(args[0])
		},
	}
	c.Flags().BoolVar(&all, "all", false, "every code")
	c.Flags().BoolVar(&markdown, "markdown", false, "every code, as docs/errors.md")
	if err := c.Flags().MarkHidden("markdown"); err != nil {
		panic(err) // the flag is defined above
	}
	return c
}

type explained struct {
	Code   fault.Code `json:"code"`
	Exit   int        `json:"exit"`
	HTTP   int        `json:"http"`
	Cause  string     `json:"cause"`
	Remedy string     `json:"remedy"`
}

func (a *App) explain(word string) error {
	e, ok := fault.Lookup(fault.Code(word))
	if !ok {
		return fault.New(fault.BadRequest, "explain %s: there is no such code; `hearth explain` lists them", word)
	}
	rows := terminal.Card().Add("Code", e.Code).Add("Cause", e.Cause).Add("Remedy", e.Remedy).Add("Exit status", e.Exit).Add("HTTP status", e.HTTP)
	return a.Term.Show(explained(e), rows)
}

func (a *App) explainAll() error {
	var all []explained
	rows := terminal.Table("CODE", "EXIT", "CAUSE")
	for _, e := range fault.All() {
		all = append(all, explained(e))
		rows.Add(e.Code, e.Exit, e.Cause)
	}
	return a.Term.Show(all, rows)
}

func explainMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Error codes\n\nWritten by `make generate` from core/fault; `hearth explain CODE` says the same offline.\n" +
		"Exit statuses: 0 done, 1 failure, 2 usage, 3 not found, 4 key or permission, 5 funds, 6 no host,\n" +
		"7 conflict, 8 integrity, 9 done in part, 130 interrupted.\n\n| code | exit | HTTP | cause | remedy |\n|---|---|---|---|---|\n")
	for _, e := range fault.All() {
		fmt.Fprintf(&b, "| `%s` | %d | %d | %s | %s |\n", e.Code, e.Exit, e.HTTP, e.Cause, strings.ReplaceAll(e.Remedy, "|", "\\|"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (a *App) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Which build this is", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := version.Get()
			rows := terminal.Card().Add("Version", v.Version).Add("Commit", v.Commit).Add("Date", v.Date).Add("Go", v.Go).Add("System", v.OS+"/"+v.Arch)
			return a.Term.Show(v, rows)
		},
	}
}
