//go:build linux && (amd64 || arm64)

package keeper

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/config"

	"hearth/cmd/hearth-sandbox/internal/uplink"
	"hearth/compute/sandbox/egress"
	"hearth/compute/sandbox/wire"
)

// What a Spec's zero fields stand for.
const (
	defaultMemory = 256 << 20
	defaultDisk   = 1 << 30
	defaultPids   = 256
	minMemory     = 4 << 20
	defaultPath   = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// overhead is what the sandbox itself needs beside the instance's memory.
const overhead = 64 << 20

// allowed are the capabilities an instance may have. None reaches out of the
// sandbox: they are gVisor's own notion. What writes to raw sockets, makes
// devices, mounts or loads isn't there.
var allowed = strings.Fields("CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP CAP_NET_BIND_SERVICE CAP_SYS_CHROOT CAP_AUDIT_WRITE CAP_SETFCAP")

// secretsFolder is where the files of /run/secrets are.
const secretsFolder = "secrets"

// check fills a spec's defaults and refuses what can't be.
func check(s *wire.Spec) (egress.Policy, error) {
	if s.Memory == 0 {
		s.Memory = defaultMemory
	}
	if s.Disk == 0 {
		s.Disk = defaultDisk
	}
	if s.Pids == 0 {
		s.Pids = defaultPids
	}
	if s.Dir == "" {
		s.Dir = "/"
	}
	switch {
	case !filepath.IsAbs(s.Rootfs):
		return egress.Policy{}, fmt.Errorf("rootfs %q isn't absolute", s.Rootfs)
	case len(s.Args) == 0 || s.Args[0] == "":
		return egress.Policy{}, errors.New("no program is named")
	case !filepath.IsAbs(s.Dir):
		return egress.Policy{}, fmt.Errorf("working folder %q isn't absolute", s.Dir)
	case s.Memory < minMemory:
		return egress.Policy{}, fmt.Errorf("%d bytes of memory, at least %d are needed", s.Memory, minMemory)
	case s.Memory > 1<<46 || s.Disk > 1<<56 || s.CPU > 1<<20:
		return egress.Policy{}, errors.New("a limit is out of range")
	}
	for _, c := range s.Caps {
		if !slices.Contains(allowed, c) {
			return egress.Policy{}, fmt.Errorf("capability %q isn't given to anybody", c)
		}
	}
	for _, m := range s.Mounts {
		if !filepath.IsAbs(m.Source) || !filepath.IsAbs(m.Target) || filepath.Clean(m.Target) == "/" {
			return egress.Policy{}, fmt.Errorf("mount %q at %q: both must be absolute, and not all", m.Source, m.Target)
		}
	}
	for name := range s.Secrets {
		if name != filepath.Base(name) || name == "." || name == ".." || name == "/" || len(name) > 255 {
			return egress.Policy{}, fmt.Errorf("secret %q: not a name of a file", name)
		}
	}
	info, err := os.Stat(s.Rootfs)
	if err != nil {
		return egress.Policy{}, fmt.Errorf("rootfs: %w", err)
	}
	if !info.IsDir() {
		return egress.Policy{}, fmt.Errorf("rootfs %s is no folder", s.Rootfs)
	}
	return egress.Parse(s.Egress, s.Allow)
}

// A bundle is what runsc is given, in memory only.
type bundle struct {
	dir  string // absolute
	spec *specs.Spec
	conf *config.Config
}

// mountPrivate mounts a file system in memory at dir, seen by this process and
// its children alone. It goes when the last of them does.
func mountPrivate(dir string) error {
	// What the host unmounts goes here too.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts apart: %w", err)
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	const size = "mode=0700,size=64m"
	err := unix.Mount("hearth", dir, "tmpfs", flags, size+",noswap")
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) { // before Linux 6.4, or not root
		err = unix.Mount("hearth", dir, "tmpfs", flags, size)
	}
	if err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	return nil
}

// write writes everything runsc needs into k.private.
func (k *keeper) write(net *uplink.Uplink) (*bundle, error) {
	s := &k.launch.Spec
	b := &bundle{dir: filepath.Join(k.private, "bundle")}
	etc := filepath.Join(k.private, "etc")
	secrets := filepath.Join(k.private, secretsFolder)
	for _, dir := range []string{b.dir, etc, secrets, filepath.Join(k.private, "runsc")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if s.Hostname == "" {
		s.Hostname = k.launch.ID
	}
	resolv := ""
	if s.Egress != wire.EgressNone {
		resolv = "nameserver " + uplink.Gateway.String() + "\noptions timeout:10\n"
	}
	for name, text := range map[string]string{
		"hostname":    s.Hostname + "\n",
		"hosts":       "127.0.0.1 localhost\n::1 localhost\n" + uplink.Instance.String() + " " + s.Hostname + "\n",
		"resolv.conf": resolv,
	} {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	for name, secret := range s.Secrets {
		path := filepath.Join(secrets, name)
		if err := os.WriteFile(path, secret, 0o600); err != nil {
			return nil, err
		}
		// Without root there is one user: the files can't be made the instance's.
		if err := os.Chown(path, int(s.UID), int(s.GID)); err != nil {
			if err := os.Chmod(path, 0o644); err != nil {
				return nil, err
			}
		}
		clear(secret)
	}
	s.Secrets = nil
	b.spec = k.oci(etc, secrets, net)
	text, err := json.Marshal(b.spec)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(b.dir, "config.json"), text, 0o600); err != nil {
		return nil, err
	}
	if k.runsc, err = os.Open(filepath.Join(k.private, "runsc")); err != nil {
		return nil, err
	}
	b.conf, err = k.settings()
	return b, err
}

// oci is the instance in runsc's words.
func (k *keeper) oci(etc, secrets string, net *uplink.Uplink) *specs.Spec {
	s := k.launch.Spec
	bind := func(source, target string, ro bool) specs.Mount {
		m := specs.Mount{Type: "bind", Source: source, Destination: target, Options: []string{"bind", "nosuid", "nodev", "rw"}}
		if ro {
			m.Options = []string{"bind", "nosuid", "nodev", "ro"}
		}
		return m
	}
	mounts := []specs.Mount{
		{Type: "proc", Source: "proc", Destination: "/proc"},
		{Type: "tmpfs", Source: "tmpfs", Destination: "/dev"},
		{Type: "sysfs", Source: "sysfs", Destination: "/sys", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		{Type: "tmpfs", Source: "tmpfs", Destination: "/dev/shm", Options: []string{"nosuid", "nodev", "mode=1777", "size=64m"}},
		{Type: "tmpfs", Source: "tmpfs", Destination: "/tmp", Options: []string{"nosuid", "nodev", "mode=1777", "size=" + strconv.FormatUint(s.Memory/2, 10)}},
		bind(filepath.Join(etc, "hostname"), "/etc/hostname", true),
		bind(filepath.Join(etc, "hosts"), "/etc/hosts", true),
		bind(filepath.Join(etc, "resolv.conf"), "/etc/resolv.conf", true),
		bind(secrets, "/run/secrets", true),
	}
	for _, m := range s.Mounts {
		mounts = append(mounts, bind(m.Source, filepath.Clean(m.Target), m.ReadOnly))
	}
	nofile := uint64(65536)
	pids := uint64(s.Pids)
	return &specs.Spec{
		Version:  specs.Version,
		Hostname: s.Hostname,
		Root:     &specs.Root{Path: s.Rootfs},
		Mounts:   mounts,
		Process: &specs.Process{
			Args: s.Args, Env: environment(s.Env), Cwd: s.Dir, NoNewPrivileges: true,
			User:         specs.User{UID: s.UID, GID: s.GID, AdditionalGids: s.Groups},
			Capabilities: capabilities(s.Caps, s.UID),
			Rlimits: []specs.POSIXRlimit{
				{Type: "RLIMIT_NPROC", Soft: pids, Hard: pids},
				{Type: "RLIMIT_NOFILE", Soft: nofile, Hard: nofile},
				{Type: "RLIMIT_CORE"},
			},
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.NetworkNamespace, Path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), net.Namespace().Fd())},
			},
			CgroupsPath: k.cgroup.path,
			Resources:   resources(s, k.cgroup.swaps()),
		},
	}
}

// resources are the limits of the control group. Above the instance's own
// processes are the sandbox's threads, and below them it needs memory of its own.
// Where swapped memory can be limited it counts as well.
func resources(s wire.Spec, swaps bool) *specs.LinuxResources {
	memory := int64(s.Memory) + overhead
	threads := 2*int64(s.Pids) + 256
	r := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: &memory},
		Pids:   &specs.LinuxPids{Limit: threads},
	}
	if swaps {
		r.Memory.Swap = &memory
	}
	if s.CPU > 0 {
		period := uint64(100_000)
		quota := max(int64(s.CPU)*int64(period)/1000, 1000)
		r.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period}
	}
	return r
}

func capabilities(names []string, uid uint32) *specs.LinuxCapabilities {
	if names == nil {
		names = strings.Fields("CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_NET_BIND_SERVICE CAP_SYS_CHROOT")
	}
	c := &specs.LinuxCapabilities{Bounding: names}
	if uid == 0 {
		c.Effective, c.Permitted = names, names
	}
	return c
}

func environment(env []string) []string {
	if slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
		return env
	}
	return append([]string{defaultPath}, env...)
}

// settings are runsc's flags.
func (k *keeper) settings() (*config.Config, error) {
	set := flag.NewFlagSet("runsc", flag.ContinueOnError)
	config.RegisterFlags(set)
	for name, value := range map[string]string{
		"root":                     fmt.Sprintf("/proc/self/fd/%d", k.runsc.Fd()), // sockets' names are short
		"platform":                 "systrap",
		"network":                  "sandbox",
		"directfs":                 "false", // the sandbox is nobody, the gofer opens files for it
		"overlay2":                 fmt.Sprintf("root:dir=%s,size=%d", filepath.Join(k.folder, wire.Disk), k.launch.Spec.Disk),
		"gso":                      "false", // our end takes plain packets
		"rootless":                 strconv.FormatBool(!k.root),
		"ignore-cgroups":           strconv.FormatBool(k.cgroup.version == ""),
		"host-settings":            "ignore",
		"control-rpc-stop-timeout": "1s",
	} {
		if err := set.Set(name, value); err != nil {
			return nil, fmt.Errorf("set %s of runsc: %w", name, err)
		}
	}
	return config.NewFromFlags(set)
}
