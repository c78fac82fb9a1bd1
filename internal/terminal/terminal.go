// Package terminal is how a command line speaks: results to its output as a
// table or as JSON, YAML or names; everything else to its error output; colour,
// bars and questions only where a person sits.
package terminal

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/danielgtaylor/huma/v2/yaml"
	"golang.org/x/term"

	"hearth/core/fault"
)

// The formats of results.
const (
	FormatTable = "table"
	FormatJSON  = "json"
	FormatYAML  = "yaml"
	FormatName  = "name"
)

// A Config says where a Terminal speaks, and how.
type Config struct {
	In       *os.File
	Out, Err *os.File
	Format   string // of results; default table
	Color    string // auto, always or never; default auto
	Quiet    bool   // no remarks
	Plain    bool   // the environment asks for no colour (NO_COLOR, TERM=dumb)
}

// A Terminal speaks to a person or a program. It is not safe for concurrent use.
type Terminal struct {
	c     Config
	in    *bufio.Reader
	color bool
}

// New returns a Terminal, or says which word of c is none.
func New(c Config) (*Terminal, error) {
	if c.Format == "" {
		c.Format = FormatTable
	}
	switch c.Format {
	case FormatTable, FormatJSON, FormatYAML, FormatName:
	default:
		return nil, fault.New(fault.BadRequest, "output %q: it is table, json, yaml or name", c.Format)
	}
	t := &Terminal{c: c, in: bufio.NewReader(c.In)}
	switch c.Color {
	case "", "auto":
		t.color = isTerminal(c.Err) && !c.Plain
	case "always":
		t.color = true
	case "never":
	default:
		return nil, fault.New(fault.BadRequest, "color %q: it is auto, always or never", c.Color)
	}
	return t, nil
}

func isTerminal(f *os.File) bool { return f != nil && term.IsTerminal(int(f.Fd())) }

// Out is where results go.
func (t *Terminal) Out() io.Writer { return t.c.Out }

// In is where input comes from.
func (t *Terminal) In() io.Reader { return t.in }

// Err is where everything else goes.
func (t *Terminal) Err() io.Writer { return t.c.Err }

// Person says whether somebody can answer a question.
func (t *Terminal) Person() bool { return isTerminal(t.c.In) && isTerminal(t.c.Err) }

// Bars says whether moving bars make sense.
func (t *Terminal) Bars() bool { return isTerminal(t.c.Err) && !t.c.Quiet && t.c.Format == FormatTable }

// Table says whether results are for people.
func (t *Terminal) Table() bool { return t.c.Format == FormatTable }

// Show writes a result: v itself, or the rows that stand for it.
func (t *Terminal) Show(v any, rows *Rows) error {
	switch t.c.Format {
	case FormatJSON:
		e := json.NewEncoder(t.c.Out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(v)
	case FormatYAML:
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return yaml.Convert(t.c.Out, strings.NewReader(string(b)))
	case FormatName:
		return rows.names(t.c.Out)
	}
	return rows.write(t.c.Out)
}

// Say writes a remark.
func (t *Terminal) Say(format string, args ...any) {
	if !t.c.Quiet {
		fmt.Fprintf(t.c.Err, format+"\n", args...)
	}
}

// Ask asks a person; without one the fault is BadRequest and names the flag that
// gives the answer.
func (t *Terminal) Ask(question, flag string) (string, error) {
	if !t.Person() {
		return "", fault.New(fault.BadRequest, "%s: nobody can be asked here; give %s", strings.ToLower(question), flag)
	}
	fmt.Fprintf(t.c.Err, "%s: ", question)
	line, err := t.in.ReadString('\n')
	if err != nil && (!errors.Is(err, io.EOF) || line == "") {
		return "", fault.New(fault.Interrupted, "ask: %w", err)
	}
	return strings.TrimSpace(line), nil
}

// AskSecret asks without showing what is typed.
func (t *Terminal) AskSecret(question, flag string) ([]byte, error) {
	if !t.Person() {
		return nil, fault.New(fault.BadRequest, "%s: nobody can be asked here; give %s", strings.ToLower(question), flag)
	}
	fmt.Fprintf(t.c.Err, "%s: ", question)
	b, err := term.ReadPassword(int(t.c.In.Fd()))
	fmt.Fprintln(t.c.Err)
	if err != nil {
		return nil, fault.New(fault.Interrupted, "ask: %w", err)
	}
	return b, nil
}

// Confirm makes a person type a word before something that can't be undone.
// yes skips the question.
func (t *Terminal) Confirm(yes bool, what, word string) error {
	if yes {
		return nil
	}
	got, err := t.Ask(fmt.Sprintf("%s Type %q to go on", what, word), "--yes")
	if err != nil {
		return err
	}
	if got != word {
		return fault.New(fault.Interrupted, "%s not confirmed", strings.ToLower(strings.TrimSuffix(what, ".")))
	}
	return nil
}

// Fail writes an error: what was being done and why it failed, what that means,
// what to do next, and its code. It returns the exit status. What others have put
// into the error stays on its line and moves nothing.
func (t *Terminal) Fail(err error) int {
	detail := clean(strings.ReplaceAll(err.Error(), "\n", "; ")) // several that are joined have lines of their own
	code := fault.CodeOf(err)
	entry, known := fault.Lookup(code)
	if !known {
		entry, _ = fault.Lookup(fault.Internal)
	}
	if t.c.Format == FormatJSON {
		report := map[string]any{"error": map[string]any{
			"code": entry.Code, "exit": entry.Exit, "detail": detail, "cause": entry.Cause, "remedy": entry.Remedy,
		}}
		e := json.NewEncoder(t.c.Err)
		e.SetEscapeHTML(false)
		if e.Encode(report) == nil {
			return entry.Exit
		}
	}
	fmt.Fprintf(t.c.Err, "%s %s\n", t.paint("31;1", "error:"), detail)
	fmt.Fprintf(t.c.Err, "%s   %s\n", t.paint("1", "why:"), entry.Cause)
	fmt.Fprintf(t.c.Err, "%s  %s\n", t.paint("1", "next:"), entry.Remedy)
	fmt.Fprintf(t.c.Err, "%s  %s (hearth explain %s)\n", t.paint("1", "code:"), entry.Code, entry.Code)
	return entry.Exit
}

func (t *Terminal) paint(style, s string) string {
	if !t.color {
		return s
	}
	return "\x1b[" + style + "m" + s + "\x1b[0m"
}
