package weather

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hearth/core/fault"
)

// takesIn: with a link for writing somebody without a node puts files under a
// prefix, within its quota, until the link is ended, and can do nothing else.
func (w *world) takesIn(t *testing.T, owner string) {
	t.Helper()
	d, _ := w.door(t)
	at := func(key string) string { return "hearth://" + bucket + "/" + key }
	if out, status := hearth(t, owner, "share", at(""), "--write"); status != fault.ExitUsage {
		t.Errorf("without a prefix, exit %d: %s", status, out)
	}
	if out, status := hearth(t, owner, "share", at("inbox/"), "--write", "--pay", "1 ember"); status != fault.ExitUsage {
		t.Errorf("with --pay, exit %d: %s", status, out)
	}
	out, status := hearth(t, owner, "share", at("inbox/"), "--write", "--quota", "100KB", "--expires", "1h")
	if status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	var link, key string
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) == 2 && f[0] == "Link" {
			link = f[1]
		}
		if len(f) > 3 && f[0] == "Ends" {
			key = f[len(f)-1]
		}
	}
	stranger, dir := filepath.Join(t.TempDir(), "nobody"), t.TempDir()
	put := func(name string, size int) (string, int) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content(63, size), 0o600); err != nil {
			t.Fatal(err)
		}
		return hearth(t, stranger, "put", file, link)
	}
	if out, status := put("gift", 60_000); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	w.mustRead(t, "inbox/gift", content(63, 60_000))
	if out, status := put("too much", 60_000); status == 0 || !strings.Contains(out, "quota") {
		t.Errorf("past the quota, exit %d: %s", status, out)
	}
	for _, key := range []string{"inbox/too much", "too much"} {
		if w.listed(t, key) {
			t.Errorf("%s is stored", key)
		}
	}
	if _, status := hearth(t, stranger, "put", filepath.Join(dir, "gift"), link[:len(link)-8]+"AAAAAAAA"); status == 0 {
		t.Error("a forged link is taken")
	}
	if out, status := hearth(t, owner, "s3", "keys", "rm", key); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	if out, status := put("late", 1000); status == 0 || w.listed(t, "inbox/late") {
		t.Errorf("after its end, at %s, exit %d: %s", d.Endpoint, status, out)
	}
	if err := w.api.Remove(within(t, patient), bucket, "inbox/gift"); err != nil {
		t.Fatal(err)
	}
}
