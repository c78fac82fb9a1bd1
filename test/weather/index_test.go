package weather

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A list of files that is cut short or has a flipped bit is named and kept as it
// is; with the good one back, everything is there.
func TestADamagedIndexIsNamedAndKept(t *testing.T) {
	t.Parallel()
	w := shared(t)
	b := content(20, 6*mib)
	w.put(t, "indexed", b)
	w.Client.Stop(patient) // who is killed leaves a log beside the file
	path := filepath.Join(w.Client.Dir, "data", "index.db")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[100] ^= 0x08 // in the first page, which is always one; others are found when they are read
	for what, damaged := range map[string][]byte{"cut short": good[:len(good)/2+100], "a flipped bit": flipped} {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		out, status := hearth(t, w.Client.Dir, "up")
		if status != 8 || !strings.Contains(out, "damaged_index") || !strings.Contains(out, path) {
			t.Errorf("%s: exit %d: %s", what, status, out)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, damaged) {
			t.Errorf("%s: the file was changed (%v)", what, err)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	w.run(t, w.Client)
	w.mustRead(t, "indexed", b)
}

// A phrase that the ledger doesn't know is an error, and no empty folder.
func TestAWrongPhraseMakesNoEmptyNode(t *testing.T) {
	t.Parallel()
	w := shared(t)
	dir := t.TempDir()
	words := filepath.Join(dir, "words")
	const unknown = "legal winner thank year wave sausage worth useful legal winner thank yellow" // BIP39's own vector
	if err := os.WriteFile(words, []byte(unknown), 0o600); err != nil {
		t.Fatal(err)
	}
	node := filepath.Join(dir, "node")
	out, status := hearth(t, node, "init", "--network", w.Network.String(), "--phrase-file", words)
	if status != 4 || !strings.Contains(out, "unknown_identity") {
		t.Errorf("exit %d: %s", status, out)
	}
	if _, err := os.Stat(node); err == nil {
		t.Error("a folder was made")
	}
}
