package weather

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hearth/api"
	"hearth/node/cloud"
)

// A server in an instance has a secret, and is spoken to at this machine. The secret is
// on nobody's disk; what was lost with its host's machine waits for it.
func TestAServerInAnInstanceHasASecretAndIsReached(t *testing.T) {
	t.Parallel()
	w, err := begin(cloud.Config{Hosts: 4, Class: twoOfFour, Machines: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.stop)
	t.Cleanup(func() { w.logs(t) })
	me, secret := w.Client.Dir, bytes.Repeat([]byte("correct horse battery staple\n"), 2000)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, secret, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, status := hearth(t, me, "image", "push", shellImage(t), "shell:1"); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	serves := []string{"--", "httpd", "-f", "-p", "8080", "-h", "/run/secrets"}
	out, status := hearth(t, me, append([]string{"instance", "create", "web", "--image", "shell:1", "--memory", "256MiB", "--secret", "key=" + file}, serves...)...)
	if status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	first := w.instance(t, "web")
	var s api.Stats
	until(t, "its host tells what it uses", func() bool {
		out, status = hearth(t, me, "stats", "web", "-o", "json")
		return status != 0 || json.Unmarshal([]byte(out), &s) != nil || len(s.Stats) == 1 && s.Stats[0].State == "running" && s.Stats[0].CPUPercent != nil
	})
	if err := json.Unmarshal([]byte(out), &s); err != nil || status != 0 || len(s.Stats) != 1 || s.Stats[0].State != "running" || s.Stats[0].Memory == 0 || s.Stats[0].MemoryPercent > 100 || s.Stats[0].CPUPercent == nil {
		t.Errorf("exit %d, %v: %s", status, err, out)
	}
	address, closed, stop := w.forward(t, "web")
	gets := func() ([]byte, error) {
		c := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
		r, err := c.Get("http://" + address + "/key")
		if err != nil {
			return nil, err
		}
		defer r.Body.Close()
		return io.ReadAll(r.Body)
	}
	until(t, "the server answers", func() bool { _, err := gets(); return err == nil })
	if got, err := gets(); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("%d of %d bytes, %v", len(got), len(secret), err)
	}
	if r, err := http.Get("http://" + closed); err == nil {
		r.Body.Close()
		t.Error("a port where nobody listens answers")
	}
	w.nowhere(t, secret[:28])
	w.linked(t, "web")

	host := w.Hosts[w.number(t, first.Host)]
	host.Kill()
	w.run(t, host)
	until(t, "it goes on", func() bool { i := w.instance(t, "web"); return i.State == "running" && i.Started.Equal(first.Started) })
	host.Kill()
	endKeeper(t, host.Dir, first.ID)
	w.run(t, host)
	until(t, "it waits for its secret", func() bool { return strings.HasPrefix(w.instance(t, "web").Reason, "waits for its secrets") })
	if out, status := hearth(t, me, "instance", "start", "web"); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	until(t, "it is reached again", func() bool { got, err := gets(); return err == nil && bytes.Equal(got, secret) })
	w.nowhere(t, secret[:28])
	if said := stop(); !strings.Contains(said, "port_closed") || bytes.Contains([]byte(said), secret[:28]) {
		t.Errorf("it has said %q", said)
	}
	if out, status := hearth(t, me, "instance", "rm", "web", "--grace", "0s", "-y"); status != 0 {
		t.Errorf("exit %d: %s", status, out)
	}
}

// forward has two ports of an instance reached here, the second one of which nobody
// listens at; stop is Ctrl-C, and gives what was said.
func (w *world) forward(t *testing.T, name string) (address, closed string, stop func() string) {
	t.Helper()
	cmd := exec.CommandContext(within(t, 3*patient), program("hearth"), "--dir", w.Client.Dir, "port-forward", name, "0:8080", "0:9", "-o", "json")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var shown []struct{ Listen string }
	if err := json.NewDecoder(out).Decode(&shown); err != nil || len(shown) != 2 {
		cmd.Process.Kill()
		t.Fatalf("%v, %v: %s", shown, err, cmd.Wait())
	}
	return shown[0].Listen, shown[1].Listen, func() string {
		t.Helper()
		if err := errors.Join(cmd.Process.Signal(os.Interrupt), cmd.Wait()); err != nil {
			t.Errorf("port-forward ends by Ctrl-C: %v", err)
		}
		return said.String()
	}
}

// linked brings a folder with links out of an instance.
func (w *world) linked(t *testing.T, name string) {
	t.Helper()
	to := t.TempDir()
	if out, status := hearth(t, w.Client.Dir, "exec", name, "--", "sh", "-c", "cd /srv && echo text > f && busybox ln -s f l && busybox ln -s /etc/passwd out"); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	if out, status := hearth(t, w.Client.Dir, "cp", name+":/srv", to); status != 0 || !strings.Contains(out, "1 symbolic links") {
		t.Errorf("exit %d: %s", status, out)
	}
	if target, err := os.Readlink(filepath.Join(to, "srv", "l")); err != nil || target != "f" {
		t.Errorf("%q, %v", target, err)
	}
	if _, err := os.Lstat(filepath.Join(to, "srv", "out")); err == nil {
		t.Error("a link out of the folder is there")
	}
}

// nowhere checks that no file of the cloud has a secret in it.
func (w *world) nowhere(t *testing.T, secret []byte) {
	t.Helper()
	err := filepath.WalkDir(w.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // it went this moment
		}
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, secret) {
			t.Errorf("%s has it", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// endKeeper ends what runs an instance, as the end of its machine would.
func endKeeper(t *testing.T, dir, id string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		b, err := os.ReadFile(name)
		words := strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
		if err != nil || len(words) != 3 || words[0] != "hearth-sandbox" || words[1] != "keep" || !strings.HasPrefix(words[2], dir+"/") || filepath.Base(words[2]) != id {
			continue
		}
		if err := kill(filepath.Base(filepath.Dir(name))); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("nothing runs instance %s", id)
}

func kill(pid string) error {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return err
	}
	return syscall.Kill(n, syscall.SIGKILL)
}
