package cli

import (
	"path/filepath"
	"slices"
	"testing"

	"hearth/api"
	"hearth/core/fault"
)

// A host is a stranger: it gets neither the agent nor the screen of who logs in, also
// where his own configuration gives them to all.
func TestSSHLendsAHostNothing(t *testing.T) {
	a := &App{Dir: t.TempDir()}
	options, err := a.sshOptionsOf(api.Instance{Name: "web", ID: "abcd", HostKey: "ssh-ed25519 AAAA", State: "running"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ForwardAgent no", "ForwardX11 no", "ClearAllForwardings yes", "StrictHostKeyChecking yes", "HostKeyAlias abcd", "UserKnownHostsFile " + sshWord(filepath.Join(a.Dir, "ssh", "abcd"))} {
		if !slices.Contains(options, want) {
			t.Errorf("no %q in %q", want, options)
		}
	}
	if _, err := a.sshOptionsOf(api.Instance{Name: "web", ID: "abcd"}); fault.CodeOf(err) != fault.HostUnreachable {
		t.Errorf("without its host's key: %v", err)
	}
}
