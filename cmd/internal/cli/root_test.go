package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// What a program doesn't have is another's: help and completion too, which tell of all.
func TestAProgramHasWhatItsCommandsAre(t *testing.T) {
	root := (&App{}).Root(Own{})
	for line, want := range map[string]bool{
		"ls": true, "ls --help": true, "--dir x -o json ls": true, "host status": true, "fn invoke hello --input -": true, "version": true, "exec web -- sh -c up": true,
		"": false, "--help": false, "--version": false, "help ls": false, "completion bash": false, "__complete l": false,
		"up": false, "--dir up up": false, "host": false, "host --help": false, "host measure": false, "wallet phrase": false, "frob": false,
	} {
		if Has(root, strings.Fields(line)) != want {
			t.Errorf("%q: want %v", line, want)
		}
	}
	measure := &cobra.Command{Use: "measure", Run: func(*cobra.Command, []string) {}}
	if !Has((&App{}).Root(Own{Host: []*cobra.Command{measure}}), []string{"host", "measure"}) {
		t.Error("it doesn't have what it adds")
	}
}
