package owner

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func put(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatLinuxShowsIsRead(t *testing.T) {
	root := t.TempDir()
	put(t, root, map[string]string{
		"proc/stat":        "cpu  1000 200 300 99999 50 7 8 0 0 0\ncpu0 1 2 3 4\n",
		"proc/1/stat":      "1 (systemd) S 0 1 1 0 -1 4194560 1 1 1 1 500 500 0 0 20 0 1 0 3 1 1",
		"proc/20/stat":     "20 (hearth-node) S 1 20 20 0 -1 0 1 1 1 1 100 50 30 20 20 0 9 0 111 1 1",
		"proc/21/stat":     "21 (a) b (c)) R 20 20 20 0 -1 0 1 1 1 1 10 0 0 0 20 0 9 0 222 1 1", // ours by its parent
		"proc/22/stat":     "22 (hearth) S 1 22 22 0 -1 0 1 1 1 1 1 1 0 0 20 0 9 0 223 1 1",
		"proc/30/stat":     "30 (hearth-sandbox) S 1 30 30 0 -1 0 1 1 1 1 0 0 0 0 20 0 9 0 333 1 1",
		"proc/31/stat":     "31 (exe) S 30 30 30 0 -1 0 1 1 1 1 4000 0 0 0 20 0 9 0 334 1 1",
		"proc/40/stat":     "40 (game) S 1 40 40 0 -1 0 1 1 1 1 9000 0 0 0 20 0 9 0 444 1 1",
		"proc/50/stat":     "50 (test) S 1 50 50 0 -1 0 1 1 1 1 5 0 0 0 20 0 9 0 555 1 1", // this process
		"proc/60/stat":     "60 (cut off",
		"proc/self/stat":   "no number",
		"proc/interrupts":  "      CPU0  CPU1\n  1:  10  20  IO-APIC  1-edge  i8042\n 12:  5  0  IO-APIC  12-edge  i8042\n 30: 9 9 PCI-MSI 1 eth0\n",
		"dev/pts/0":        "", // typed in
		"dev/pts/7":        "", // a tenant's
		"dev/tty1":         "",
		"dev/input/event0": "",
		"dev/input/mice":   "", // no device of its own
		"sys/bus/usb/devices/1-2:1.0/bInterfaceClass":    "03\n", // a receiver: a keyboard and a mouse
		"sys/bus/usb/devices/1-2:1.0/bInterfaceProtocol": "01\n",
		"sys/bus/usb/devices/1-2:1.1/bInterfaceClass":    "03\n",
		"sys/bus/usb/devices/1-2:1.1/bInterfaceProtocol": "02\n",
		"sys/bus/usb/devices/1-2/urbnum":                 "400\n",
		"sys/bus/usb/devices/1-3:1.0/bInterfaceClass":    "03\n", // a power supply that reports by itself
		"sys/bus/usb/devices/1-3:1.0/bInterfaceProtocol": "00\n",
		"sys/bus/usb/devices/1-3/urbnum":                 "7777\n",
		"sys/bus/usb/devices/1-4:1.0/bInterfaceClass":    "08\n", // a disk
		"sys/bus/usb/devices/1-4:1.0/bInterfaceProtocol": "01\n",
		"sys/bus/usb/devices/1-4/urbnum":                 "8888\n",
	})
	for name, to := range map[string]string{"proc/31/fd/5": "/dev/pts/7", "proc/20/fd/0": "/dev/pts/0"} { // `hearth up` on the owner's own
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	old := noon.Add(-time.Hour)
	for name, at := range map[string]time.Time{"dev/pts/0": noon, "dev/pts/7": noon.Add(2 * time.Hour), "dev/tty1": old, "dev/input/event0": old, "dev/input/mice": noon.Add(time.Hour)} {
		if err := os.Chtimes(filepath.Join(root, name), at, old); err != nil {
			t.Fatal(err)
		}
	}
	f, err := gather(root, 50)
	if err != nil {
		t.Fatal(err)
	}
	if f.Busy != 15*time.Second || f.Reports != 435 || !f.Touched.Equal(noon) || f.Cores < 1 {
		t.Errorf("%+v", f)
	}
	want := map[Process]time.Duration{{20, 111}: 2 * time.Second, {21, 222}: 100 * time.Millisecond, {22, 223}: 20 * time.Millisecond, {30, 333}: 0, {31, 334}: 40 * time.Second, {50, 555}: 50 * time.Millisecond}
	if len(f.Ours) != len(want) {
		t.Errorf("ours are %v", f.Ours)
	}
	for p, used := range want {
		if got, there := f.Ours[p]; !there || got != used {
			t.Errorf("%v has computed %v, want %v", p, got, used)
		}
	}
}

func TestThisMachineIsRead(t *testing.T) {
	f, err := Gather()
	if err != nil || f.Busy <= 0 || len(f.Ours) == 0 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestAMachineThatShowsNothingIsAnError(t *testing.T) {
	if _, err := gather(t.TempDir(), 1); err == nil {
		t.Error("it was read")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("21 (a) b (c)) R 20 20 20 0 -1 0 1 1 1 1 10 0 0 0 20 0 9 0 222 1 1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, ok := parse(text); ok && p.used < 0 {
			t.Errorf("%q gives %+v", text, p)
		}
	})
}
