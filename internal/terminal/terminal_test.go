package terminal_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"unicode"

	"hearth/core/fault"
	"hearth/internal/terminal"
)

// piped is a terminal without a person; said gives what it has written.
func piped(t *testing.T, c terminal.Config) (term *terminal.Terminal, out, said func() string) {
	t.Helper()
	file := func() (*os.File, func() string) {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f, func() string {
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(f)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
	}
	c.In, _ = file()
	c.Out, out = file()
	c.Err, said = file()
	term, err := terminal.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return term, out, said
}

type thing struct {
	Name string `json:"name"`
	Size int    `json:"size"`
}

func TestOneResultInEveryFormat(t *testing.T) {
	for format, want := range map[string]string{
		"table": "NAME   SIZE\na      1.0 KiB\nlong?  1023 B\n",
		"name":  "a\nlong?\n",
		"json":  "[\n  {\n    \"name\": \"a\",\n    \"size\": 1024\n  }\n]\n",
		"yaml":  "- name: a\n  size: 1024\n",
	} {
		term, out, _ := piped(t, terminal.Config{Format: format})
		rows := terminal.Table("NAME", "SIZE").Add("a", terminal.Size(1024)).Add("long\x1b", terminal.Size(1023))
		if err := term.Show([]thing{{"a", 1024}}, rows); err != nil {
			t.Fatal(err)
		}
		if got := out(); got != want {
			t.Errorf("%s:\n%s", format, got)
		}
	}
}

func TestErrorsSayWhatWhyNextAndCode(t *testing.T) {
	term, out, said := piped(t, terminal.Config{})
	exit := term.Fail(fault.New(fault.NoFunds, "send 2 ember: the account holds 1 ember"))
	got := said()
	for _, part := range []string{"error: send 2 ember", "why:", "next:", "hearth wallet fund", "code:  no_funds"} {
		if !strings.Contains(got, part) {
			t.Errorf("no %q in:\n%s", part, got)
		}
	}
	if exit != fault.ExitFunds || out() != "" || strings.Contains(got, "\x1b") {
		t.Errorf("exit %d, output %q, errors %q", exit, out(), got)
	}
}

// Names in errors are often a stranger's.
func TestAnErrorMovesNothingOnTheTerminal(t *testing.T) {
	for _, format := range []string{terminal.FormatTable, terminal.FormatJSON} {
		term, _, said := piped(t, terminal.Config{Format: format})
		term.Fail(errors.Join(&fs.PathError{Op: "open", Path: "a\x1b[2J\u009b1m\rb\x7f", Err: fs.ErrExist}, errors.New("next")))
		got := said()
		if strings.ContainsFunc(got, func(c rune) bool { return c != '\n' && unicode.IsControl(c) }) || strings.Contains(got, `\u00`) {
			t.Errorf("%s: %q", format, got)
		}
		if !strings.Contains(got, "open a?[2J?1m?b?: file already exists; next") {
			t.Errorf("%s: the words are lost: %q", format, got)
		}
	}
}

func TestNobodyIsAskedWhereNobodySits(t *testing.T) {
	term, _, said := piped(t, terminal.Config{})
	if err := term.Confirm(false, "Removes everything.", "photos"); fault.CodeOf(err) != fault.BadRequest || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("%v", err)
	}
	if err := term.Confirm(true, "Removes everything.", "photos"); err != nil {
		t.Error(err)
	}
	if _, err := term.AskSecret("Passphrase", "--passphrase-file"); fault.CodeOf(err) != fault.BadRequest {
		t.Errorf("%v", err)
	}
	if said() != "" || term.Bars() || term.Person() {
		t.Errorf("said %q", said())
	}
}

func TestWordsThatAreNone(t *testing.T) {
	for _, c := range []terminal.Config{{Format: "xml"}, {Color: "blue"}} {
		c.In, c.Out, c.Err = os.Stdin, os.Stdout, os.Stderr
		if _, err := terminal.New(c); fault.CodeOf(err) != fault.BadRequest {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 1<<20 - 1: "1.0 MiB", 5 << 40: "5.0 TiB"} {
		if got := terminal.Size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
