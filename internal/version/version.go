// Package version says which build this is. The linker writes the values
// (see the Makefile); a plain `go build` leaves the defaults.
package version

import "runtime"

// Stamped by the linker, never changed at run time.
var (
	Version = "dev"
	Commit  = "unknown"
	Date    = "unknown" // of the commit, so that one commit builds one binary
)

// Info is the stamp as the command line and the API show it.
type Info struct {
	Version string `json:"version" doc:"Release, or 'dev'"`
	Commit  string `json:"commit" doc:"Commit it was built from"`
	Date    string `json:"date" doc:"When that commit was made"`
	Go      string `json:"go" doc:"Go release it was built with"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// Get returns this build's stamp.
func Get() Info {
	return Info{Version, Commit, Date, runtime.Version(), runtime.GOOS, runtime.GOARCH}
}
