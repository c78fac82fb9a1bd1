package weather

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hearth/api"
	"hearth/node/cloud"
)

// counter is what an instance of the image counts with: a line each fifth of a second.
const counter = "i=0; while true; do echo line $i; i=$((i+1)); sleep 0.2; done"

// shellImage is an image as `docker save` writes it, of Debian's busybox.
func shellImage(t *testing.T) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatalf("the test needs busybox-static (test/setup.sh): %v", err)
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	l := tar.NewWriter(&layer)
	put := func(to *tar.Writer, h tar.Header, b []byte) {
		h.Size = int64(len(b))
		if err := to.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := to.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"bin", "etc", "srv", "tmp"} {
		put(l, tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	put(l, tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, program)
	for _, name := range []string{"sh", "cat", "id", "sleep", "echo", "httpd", "true", "tar", "test", "ls", "stty"} {
		put(l, tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox"}, nil)
	}
	put(l, tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:0::/:/bin/sh\napp:x:1000:1000::/srv:/bin/sh\n"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(layer.Bytes())
	config, err := json.Marshal(map[string]any{
		"architecture": hostArch(t), "os": "linux", "config": map[string]any{"Env": []string{"PATH=/bin"}, "Cmd": []string{"/bin/sh", "-c", counter}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "shell.tar")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := tar.NewWriter(f)
	put(out, tar.Header{Name: "layer.tar", Mode: 0o644}, layer.Bytes())
	put(out, tar.Header{Name: "config.json", Mode: 0o644}, config)
	put(out, tar.Header{Name: "manifest.json", Mode: 0o644}, []byte(`[{"Config":"config.json","RepoTags":["shell:1"],"Layers":["layer.tar"]}]`))
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// instance is how one stands by its host's word.
func (w *world) instance(t *testing.T, name string) api.Instance {
	t.Helper()
	all, err := w.api.Instances(within(t, patient))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all.Instances {
		if i.Name == name {
			return i
		}
	}
	return api.Instance{State: "not listed"}
}

// An instance runs on a stranger's machine, does what it is told there, goes on while
// the programs around it die, and is paid by the second for as long as it is there.
func TestAnInstanceRunsOnAStrangersMachine(t *testing.T) {
	t.Parallel()
	w, err := begin(cloud.Config{Hosts: 4, Class: twoOfFour, Machines: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.stop)
	t.Cleanup(func() { w.logs(t) })
	me := w.Client.Dir
	if out, status := hearth(t, me, "image", "push", shellImage(t), "shell:1"); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	if out, status := hearth(t, me, "instance", "create", "one", "--image", "shell:1", "--max-price", "0.1 ember"); status == 0 || !strings.Contains(out, "price_too_high") {
		t.Errorf("exit %d: %s", status, out)
	}
	if out, status := hearth(t, me, "instance", "create", "big", "--image", "shell:1", "--cpu", "500"); status == 0 || !strings.Contains(out, "no_hosts") {
		t.Errorf("exit %d: %s", status, out)
	}
	began := time.Now()
	if out, status := hearth(t, me, "instance", "create", "one", "--image", "shell:1", "--cpu", "2", "--memory", "2GiB", "--env", "WORD=good"); status != 0 || !strings.Contains(out, "in 30 days") {
		t.Fatalf("exit %d: %s", status, out)
	}
	first := w.instance(t, "one")
	if first.State != "running" || first.Machine.CPU != 2000 {
		t.Fatalf("%+v", first)
	}
	if out, status := hearth(t, me, "exec", "one", "--", "sh", "-c", "echo $WORD morning; exit 3"); status != 3 || !strings.HasPrefix(out, "good morning\n") {
		t.Errorf("exit %d: %s", status, out)
	}
	if out, status := hearth(t, me, "exec", "-u", "65534:100", "one", "sh", "-c", "id -u; id -g"); status != 0 || out != "65534\n100\n" {
		t.Fatalf("a program as somebody else: %d, %s", status, out)
	}
	if out, status := hearth(t, me, "exec", "one", "sh", "-c", "echo kept > /tmp/note"); status != 0 {
		t.Errorf("exit %d: %s", status, out)
	}
	if out, status := hearth(t, me, "instance", "create", "two", "--image", "shell:1", "--host", first.Host); status == 0 || !strings.Contains(out, "host_refused") {
		t.Errorf("a machine that is taken was given again: exit %d: %s", status, out)
	}
	if size, err := w.onTerminal(t, "one"); err != nil || size != "24 80\r\n" {
		t.Errorf("a terminal of %q, %v", size, err)
	}
	if out, status := hearth(t, me, "ssh", "one", "echo $WORD evening; exit 5"); status != 5 || !strings.Contains(out, "good evening\n") {
		t.Errorf("exit %d: %s", status, out)
	}
	w.copies(t)
	host := w.Hosts[w.number(t, first.Host)]
	host.Kill()
	w.Client.Kill()
	w.run(t, host)
	w.run(t, w.Client)
	until(t, "the instance is running again", func() bool { return w.instance(t, "one").State == "running" })
	if again := w.instance(t, "one"); again.ID != first.ID || !again.Started.Equal(first.Started) {
		t.Errorf("it isn't the one that ran: %+v, then %+v", first, again)
	}
	if out, status := hearth(t, me, "exec", "one", "cat", "/tmp/note"); status != 0 || out != "kept\n" {
		t.Errorf("exit %d: %s", status, out)
	}
	log, status := hearth(t, me, "logs", "one")
	lines := strings.Split(strings.TrimSpace(log), "\n")
	if status != 0 || len(lines) < 5 {
		t.Fatalf("exit %d: %s", status, log)
	}
	for n, line := range lines {
		if line != "line "+strconv.Itoa(n) {
			t.Fatalf("line %d of the log is %q: it has a gap", n, line)
		}
	}
	if out, status := hearth(t, me, "instance", "rm", "one", "--grace", "0s", "-y"); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	w.billed(t, first, time.Since(began))
	if left := w.instance(t, "one"); left.State != "not listed" {
		t.Errorf("%+v", left)
	}
	until(t, "the machine is free again", func() bool {
		out, status := hearth(t, me, "instance", "create", "three", "--image", "shell:1", "--host", first.Host, "--cpu", "2", "--", "true")
		if status != 0 && !strings.Contains(out, "host_full") && !strings.Contains(out, "host_refused") {
			t.Fatalf("exit %d: %s", status, out)
		}
		return status == 0
	})
	until(t, "what ends by itself has exited", func() bool { return w.instance(t, "three").State == "exited" })
}

// billed checks what was signed for an instance that is gone: the time it was there,
// traffic, and a window of traffic that was paid ahead.
func (w *world) billed(t *testing.T, i api.Instance, took time.Duration) {
	t.Helper()
	l, err := w.api.Lease(within(t, patient), i.Lease)
	if err != nil {
		t.Fatal(err)
	}
	host, err := w.host(w.number(t, i.Host))
	if err != nil || host.Functions == nil {
		t.Fatal(host.Functions, err)
	}
	value := func(m api.Money) float64 {
		v, err := m.Value()
		if err != nil {
			t.Fatal(err)
		}
		return float64(v)
	}
	const window = 8 << 20
	traffic := (float64(l.In+window)*value(host.Functions.Prices.In) + float64(l.Out+window)*value(host.Functions.Prices.Out)) / (1 << 30)
	rent := value(i.Month) * took.Seconds() / (30 * 24 * 3600)
	if got := value(l.Signed); got < 0.5*rent || got > rent+traffic+10 {
		t.Errorf("%.0f uember are signed: %s of the machine cost %.1f, traffic at most %.1f", got, took, rent, traffic)
	}
}

// onTerminal asks a program on a terminal how large that is. Nobody types anything.
func (w *world) onTerminal(t *testing.T, name string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	_, err := w.api.Exec(within(t, patient), name, api.Program{Args: []string{"stty", "size"}, TTY: true, Size: api.Size{Rows: 24, Cols: 80}}, nil, &out, &out, nil)
	return out.String(), err
}

// copies brings files into an instance and out of it again.
func (w *world) copies(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	site := filepath.Join(dir, "site")
	if err := os.MkdirAll(filepath.Join(site, "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	big := content(9, 3<<20)
	if err := os.WriteFile(filepath.Join(site, "deep", "page"), big, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"cp", site, "one:/srv/"}, {"cp", "one:/srv/site", filepath.Join(dir, "back")}, {"cp", "one:/srv/site/deep/page", dir}, {"cp", filepath.Join(dir, "page"), "one:/tmp/renamed"},
	} {
		if out, status := hearth(t, w.Client.Dir, args...); status != 0 {
			t.Fatalf("%v: exit %d: %s", args, status, out)
		}
	}
	for _, name := range []string{filepath.Join(dir, "back", "deep", "page"), filepath.Join(dir, "page")} {
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, big) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if out, status := hearth(t, w.Client.Dir, "exec", "one", "ls", "/tmp"); status != 0 || !strings.Contains(out, "renamed") {
		t.Errorf("exit %d: %s", status, out)
	}
	if out, status := hearth(t, w.Client.Dir, "cp", "one:/srv/nothing", dir); status == 0 || !strings.Contains(out, "not_found") {
		t.Errorf("exit %d: %s", status, out)
	}
}

// until waits for what has to come.
func until(t *testing.T, what string, there func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); !there(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
