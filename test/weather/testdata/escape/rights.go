package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A try is one way out; it is an error where it is closed.
type try struct {
	what string
	do   func() error
}

// rights tries whatever might lead out. Of the host it is told the number of a process
// and files, none of which may be there.
func rights(told []string) error {
	if len(told) == 0 {
		return errors.New("no process of the host is named")
	}
	process, err := strconv.Atoi(told[0])
	if err != nil {
		return err
	}
	tries := append(tries(process), []try{
		{"read the memory of a process of the host", func() error { return read(fmt.Sprintf("/proc/%d/environ", process)) }},
		{"a file of the host", func() error { return find(told[0], told[1:]) }},
	}...)
	if os.Getuid() != 0 {
		tries = append(tries, try{"setuid", func() error { return unix.Setresuid(0, 0, 0) }}, try{"a program with setuid", climb}, try{"all capabilities", capable})
	}
	for _, t := range tries {
		if err := t.do(); err != nil {
			fmt.Printf("refused %s: %v\n", t.what, err)
		} else {
			fmt.Println("GAINED", t.what)
		}
	}
	fmt.Println("tried", len(tries))
	return nil
}

func tries(process int) []try {
	const anywhere = "/tmp"
	return []try{
		{"mount memory", func() error { return unix.Mount("none", anywhere, "tmpfs", 0, "") }},
		{"mount proc", func() error { return unix.Mount("proc", anywhere, "proc", 0, "") }},
		{"mount a disk", func() error { return unix.Mount("/dev/vda", anywhere, "ext4", 0, "") }},
		{"mount the root elsewhere", func() error { return unix.Mount("/", anywhere, "", unix.MS_BIND|unix.MS_REC, "") }},
		{"mount anew, to write", func() error { return unix.Mount("", "/etc/hosts", "", unix.MS_REMOUNT|unix.MS_BIND, "") }},
		{"unmount", func() error { return unix.Unmount("/etc/hosts", unix.MNT_DETACH) }},
		{"pivot_root", func() error { return unix.PivotRoot(anywhere, anywhere) }},
		{"fsopen", func() error { return call(unix.SYS_FSOPEN, text("ext4"), 0) }},
		{"open_tree", func() error { return call(unix.SYS_OPEN_TREE, ^uintptr(99), text("/"), 1) }},
		{"move_mount", func() error { return call(unix.SYS_MOVE_MOUNT, ^uintptr(99), text("/"), ^uintptr(99), text(anywhere)) }},
		{"make a disk", func() error { return node("/tmp/disk", unix.S_IFBLK, unix.Mkdev(254, 0)) }},
		{"make the machine's memory", func() error { return node("/tmp/mem", unix.S_IFCHR, unix.Mkdev(1, 1)) }},
		{"read /dev/mem", func() error { return read("/dev/mem") }},
		{"read /dev/kmsg", func() error { return read("/dev/kmsg") }},
		{"read /dev/vda", func() error { return read("/dev/vda") }},
		{"open /dev/kvm", func() error { return write("/dev/kvm", "") }},
		{"read /proc/kcore", func() error { return read("/proc/kcore") }},
		{"read /proc/keys", func() error { return read("/proc/keys") }},
		{"write core_pattern", func() error { return write("/proc/sys/kernel/core_pattern", "|/tmp/x") }},
		{"write modprobe", func() error { return write("/proc/sys/kernel/modprobe", "/tmp/x") }},
		{"write the host's name", func() error { return write("/proc/sys/kernel/hostname", "mine") }},
		{"write sysrq-trigger", func() error { return write("/proc/sysrq-trigger", "h") }},
		{"write uevent_helper", func() error { return write("/sys/kernel/uevent_helper", "/tmp/x") }},
		{"write a release_agent", func() error { return writeAny("/sys/fs/cgroup/*/release_agent", "/tmp/x") }},
		{"move between control groups", func() error { return writeAny("/sys/fs/cgroup/*/cgroup.procs", "1") }},
		{"ptrace a process of the host", func() error { return call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(process)) }},
		{"signal a process of the host", func() error { return unix.Kill(process, 0) }},
		{"open a process of the host", func() error { return opened(unix.PidfdOpen(process, 0)) }},
		{"load a module", func() error { return call(unix.SYS_INIT_MODULE, text("x"), 1, text("")) }},
		{"load a kernel", func() error { return call(unix.SYS_KEXEC_LOAD) }},
		{"reboot", func() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_ON) }},
		{"set the clock", func() error { return unix.Settimeofday(&unix.Timeval{Sec: 1}) }},
		{"sethostname", func() error { return unix.Sethostname([]byte("mine")) }},
		{"swap", func() error { return call(unix.SYS_SWAPON, text("/tmp/x")) }},
		{"bpf", func() error { return call(unix.SYS_BPF, 0, text(strings.Repeat("\x00", 128)), 128) }},
		{"perf_event_open", func() error {
			return opened(unix.PerfEventOpen(&unix.PerfEventAttr{Size: unix.PERF_ATTR_SIZE_VER0}, -1, 0, -1, 0))
		}},
		{"io_uring", func() error { return call(unix.SYS_IO_URING_SETUP, 8, text(strings.Repeat("\x00", 256))) }},
		{"userfaultfd", func() error { return call(unix.SYS_USERFAULTFD) }},
		{"add_key", func() error { return opened(unix.AddKey("user", "escape", []byte("x"), unix.KEY_SPEC_USER_KEYRING)) }},
		{"keyctl", func() error { return opened(unix.KeyctlGetKeyringID(unix.KEY_SPEC_USER_KEYRING, true)) }},
		{"open_by_handle_at", handle},
		{"a raw socket", func() error { return opened(unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)) }},
		{"a packet socket", func() error { return opened(unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0x300)) }},
		{"a socket to virtual machines", func() error { return opened(unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)) }},
		{"a socket to the kernel's ciphers", func() error { return opened(unix.Socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)) }},
		{"namespaces of its own", func() error { return unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET) }},
	}
}

// find looks for files of the host.
func find(process string, names []string) error {
	for _, name := range names {
		for _, way := range []string{"", "/proc/1/root", "/proc/self/root", "/proc/1/cwd/../../../..", "/../../../../../..", "/proc/" + process + "/root"} {
			if read(way+name) == nil {
				return nil
			}
		}
	}
	return os.ErrNotExist
}

// call is a system call that the library has no word for.
func call(number uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	r, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
	runtime.KeepAlive(texts)
	if errno != 0 {
		return errno
	}
	return opened(int(r), nil)
}

// opened closes what has been opened.
func opened(fd int, err error) error {
	if err == nil && fd > 2 {
		unix.Close(fd)
	}
	return err
}

// texts are what the kernel is given: nobody may free it.
var texts [][]byte

func text(s string) uintptr {
	b := append([]byte(s), 0)
	texts = append(texts, b)
	return uintptr(unsafe.Pointer(&b[0]))
}

func read(name string) error {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Read(make([]byte, 64))
	return err
}

func write(name, what string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(what)
	return err
}

func writeAny(pattern, what string) error {
	all, err := filepath.Glob(pattern)
	if err == nil {
		err = os.ErrNotExist
	}
	for _, name := range all {
		if err = write(name, what); err == nil {
			return nil
		}
	}
	return err
}

// node makes a device and reads it: its name alone is nothing.
func node(name string, kind uint32, of uint64) error {
	if err := unix.Mknod(name, kind|0o666, int(of)); err != nil {
		return err
	}
	return read(name)
}

// handle is how one walked out of early containers: inode 2 is the root of a disk.
func handle() error {
	dir, err := os.Open("/")
	if err != nil {
		return err
	}
	defer dir.Close()
	return opened(unix.OpenByHandleAt(int(dir.Fd()), unix.NewFileHandle(1, []byte{2, 0, 0, 0, 0, 0, 0, 0}), unix.O_RDONLY))
}

// climb runs a program of the image that belongs to root and has setuid.
func climb() error {
	out, err := exec.Command("/bin/climb", "who").Output()
	if err == nil && !strings.Contains(string(out), "euid 0") {
		err = fmt.Errorf("it is %s", strings.TrimSpace(string(out)))
	}
	return err
}

// capable takes every capability there is.
func capable() error {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	all := [2]unix.CapUserData{{Effective: ^uint32(0), Permitted: ^uint32(0)}, {Effective: 0x1ff, Permitted: 0x1ff}}
	return unix.Capset(&h, &all[0])
}
