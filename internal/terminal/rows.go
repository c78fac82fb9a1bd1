package terminal

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Rows are a table for people. The first column is what `-o name` prints, or the
// first value of a card.
type Rows struct {
	head  []string
	lines [][]string
}

// Table begins a table with these headings.
func Table(head ...string) *Rows { return &Rows{head: head} }

// Card begins a table of two columns, a name and a value on each line.
func Card() *Rows { return &Rows{} }

// Add adds a line. Cells are printed with %v.
func (r *Rows) Add(cells ...any) *Rows {
	line := make([]string, len(cells))
	for i, c := range cells {
		line[i] = clean(fmt.Sprint(c))
	}
	r.lines = append(r.lines, line)
	return r
}

// clean keeps what others have named from moving the cursor or changing colours.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 || c == utf8.RuneError {
			return '?'
		}
		return c
	}, s)
}

// names writes the first column; of a card, its first value.
func (r *Rows) names(w io.Writer) error {
	if len(r.head) == 0 && len(r.lines) > 0 {
		first := r.lines[0]
		_, err := fmt.Fprintln(w, first[len(first)-1])
		return err
	}
	for _, line := range r.lines {
		if _, err := fmt.Fprintln(w, line[0]); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rows) write(w io.Writer) error {
	all := r.lines
	if len(r.head) > 0 {
		all = append([][]string{r.head}, all...)
	}
	var width []int
	for _, line := range all {
		for i, cell := range line {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range all {
		var b strings.Builder
		for i, cell := range line {
			b.WriteString(cell)
			if i < len(line)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// Size writes bytes as people read them: `1.5 GiB`.
func Size[T int | int64 | uint64](n T) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f := float64(n)
	for _, unit := range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		f /= 1024
		if f < 1023.95 || unit == "PiB" {
			return fmt.Sprintf("%.1f %s", f, unit)
		}
	}
	return ""
}

// When writes a time as people read it; `-` stands for none.
func When(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.UTC().Format("2006-01-02 15:04:05Z")
}

// Span writes a length of time in days or hours.
func Span(seconds int64) string {
	switch d := time.Duration(seconds) * time.Second; {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	default:
		return d.String()
	}
}
