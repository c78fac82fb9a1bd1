package wallet

import (
	"fmt"
	"strings"
)

// Sheet is the recovery sheet, as text to print: with the words, so handle it as
// the money and the files it gives back.
func Sheet(id Identity) (string, error) {
	keys, err := Derive(id.Phrase, id.Device)
	if err != nil {
		return "", fmt.Errorf("write recovery sheet: %w", err)
	}
	var b strings.Builder
	b.WriteString("HEARTH RECOVERY SHEET\n\n")
	b.WriteString("Whoever has these words has your money and your files. Keep this sheet where\n")
	b.WriteString("you keep what you can't replace, and show it to nobody.\n\n")
	words := strings.Fields(id.Phrase.Reveal())
	const columns = 3
	for row := range len(words) / columns {
		for column := range columns {
			i := row + column*len(words)/columns
			fmt.Fprintf(&b, "  %2d. %-14s", i+1, words[i])
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\nNetwork  %s\nAccount  %s\n\n", id.Network, keys.Account().Address())
	b.WriteString("To bring everything back on an empty machine: hearth restore --network NAME\n")
	return b.String(), nil
}
