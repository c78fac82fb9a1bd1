package cloud

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hearth/core/erasure"
	"hearth/core/fault"
)

const netName = "hearth-0123456789abcdef0123@http://127.0.0.1:7"

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A reset takes away a cloud, and nobody else's files.
func TestOnlyACloudIsReset(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "photos", "cat"), "mine")
	if err := reset(dir); fault.CodeOf(err) != fault.BadRequest {
		t.Errorf("a foreign folder: %v", err)
	}
	if err := found(&Config{Dir: dir}, "no-program"); fault.CodeOf(err) != fault.Exists {
		t.Errorf("a cloud in a foreign folder: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "photos", "cat")); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
	write(t, filepath.Join(dir, marker), netName+"\n3\n1/2\n")
	write(t, filepath.Join(dir, "hearth.pid"), "7")
	if err := reset(dir); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "hearth.pid" {
		t.Errorf("%v is left, %v; the lock is whoever's runs", left, err)
	}
}

// What a founding left that was cut short is no reason to refuse; anything else is.
func TestACutFoundingBeginsAnew(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "ledger", "x"), "half")
	held, err := entries(dir)
	if err != nil || !abandoned(held) {
		t.Errorf("%v, %v", held, err)
	}
	write(t, filepath.Join(dir, "notes"), "")
	if held, err = entries(dir); err != nil || abandoned(held) {
		t.Errorf("with a stranger's file: %v, %v", held, err)
	}
}

func TestAResumedCloudIsTheOneThatWasFounded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, marker)
	write(t, path, netName+"\n3\n1/2\n")
	cl, err := resume(Config{Dir: dir, Hearth: "/bin/hearth"}, "/bin/hearth-ledger")
	if err != nil {
		t.Fatal(err)
	}
	if cl.Network.String() != netName || len(cl.Hosts) != 3 || cl.Class != (erasure.Class{K: 1, N: 2}) {
		t.Errorf("%+v", cl)
	}
	dirs := map[string]bool{cl.Client.Dir: true, cl.Ledger.Dir: true}
	for _, p := range cl.nodes() {
		if i := slices.Index(p.argv, "--dir"); i < 0 || p.argv[i+1] != p.Dir || p.PID() != 0 {
			t.Errorf("%s: %v", p.Name, p.argv)
		}
		dirs[p.Dir] = true
	}
	if len(dirs) != 5 {
		t.Errorf("some share a folder: %v", dirs)
	}
	if !slices.Contains(cl.Ledger.argv, "127.0.0.1:7") {
		t.Errorf("the ledger doesn't listen where its name says: %v", cl.Ledger.argv)
	}
	if _, err := resume(Config{Dir: dir, Hosts: 4}, ""); fault.CodeOf(err) != fault.Exists {
		t.Errorf("another number of hosts: %v", err)
	}
	for _, text := range []string{"", netName, netName + "\nmany\n1/2\n", netName + "\n3\n1/2\nmore\n"} {
		write(t, path, text)
		if _, err := resume(Config{Dir: dir}, ""); fault.CodeOf(err) != fault.DamagedFile {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Half of the hosts may be lost, and a code never needs more hosts than there are.
func TestTheCodeSuitsTheHosts(t *testing.T) {
	for hosts := 2; hosts <= 40; hosts++ {
		c := ClassFor(hosts)
		if c.N > hosts || c.N < 2*c.K || c.Validate() != nil {
			t.Errorf("%d hosts: %v", hosts, c)
		}
	}
}

// Every node of a cloud stays on this machine, and is content with its settings.
func TestNodesStayOnThisMachine(t *testing.T) {
	client := clientSettings(Config{Class: ClassFor(4)})
	client.Network = netName
	if err := client.Check(); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(client.P2P.Listen, "127.0.0.1:") || client.S3.Listen != "" && !strings.HasPrefix(client.S3.Listen, "127.0.0.1:") {
		t.Errorf("%+v %+v", client.P2P, client.S3)
	}
	looking := 0
	for i := range 4 {
		s := hostSettings(Config{}, i)
		s.Network = netName
		if err := s.Check(); err != nil {
			t.Error(err)
		}
		if !s.Local || !strings.HasPrefix(s.P2P.Listen, "127.0.0.1:") {
			t.Errorf("host %d: %+v", i, s.P2P)
		}
		if slices.Contains(s.Roles, "steward") {
			looking++
		}
	}
	if looking != stewards {
		t.Errorf("%d stewards", looking)
	}
}
