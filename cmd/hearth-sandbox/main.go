// Command hearth-sandbox runs containers for a node: it is gVisor's runsc and
// the keeper that looks after one instance, in one static program without C.
// `hearth` starts it; people have little use for it.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"hearth/internal/version"
)

const usage = `usage: hearth-sandbox keep FOLDER   run the instance described on standard input (for the node)
       hearth-sandbox selftest      say that a program runs here; with held, when told to end
       hearth-sandbox --version`

func main() {
	if isolate() {
		return
	}
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	switch {
	case len(args) == 2 && args[0] == "keep":
		return keep(args[1])
	case len(args) == 1 && args[0] == "selftest":
		fmt.Fprintln(os.Stdout, "a program runs here")
		return 0
	case len(args) == 2 && args[0] == "selftest" && args[1] == "held":
		told := make(chan os.Signal, 1)
		signal.Notify(told, syscall.SIGTERM)
		fmt.Fprintln(os.Stdout, "held")
		<-told
		fmt.Fprintln(os.Stdout, "a program runs here")
		return 0
	case len(args) == 1 && (args[0] == "--version" || args[0] == "version"):
		v := version.Get()
		fmt.Fprintf(os.Stdout, "hearth-sandbox %s (%s, %s, %s %s/%s)\n", v.Version, v.Commit, v.Date, v.Go, v.OS, v.Arch)
		return 0
	}
	fmt.Fprintln(os.Stderr, usage)
	return 2
}
