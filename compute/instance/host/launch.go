package host

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"hearth/compute/image"
	"hearth/compute/sandbox"
	"hearth/compute/wire"
	"hearth/core/fault"
	"hearth/core/instance"
)

// maxAccounts bounds an image's lists of users and groups.
const maxAccounts = 1 << 20

// digestOf is a digest as images have it.
func digestOf(d [32]byte) digest.Digest { return digest.NewDigestFromBytes(digest.SHA256, d[:]) }

// launch is what the engine starts for a spec, with what its image says.
func launch(s instance.Spec, img image.Image) (sandbox.Spec, error) {
	c := img.Config
	args := s.Args
	if len(args) == 0 {
		args = slices.Concat(c.Entrypoint, c.Cmd)
	}
	if len(args) == 0 {
		return sandbox.Spec{}, fault.New(fault.BadRequest, "start instance: neither it nor its image says what to run")
	}
	out := sandbox.Spec{
		Rootfs: img.Rootfs, Args: args, Env: mergeEnv(c.Env, s.Env), Dir: s.Dir,
		CPU: s.CPU, Memory: s.Memory, Disk: s.Disk, Pids: uint32(s.Pids), Allow: s.Allowed,
	}
	if out.Dir == "" {
		out.Dir = c.WorkingDir
	}
	switch s.Egress {
	case instance.Allow:
		out.Egress = sandbox.EgressAllow
	case instance.Open:
		out.Egress = sandbox.EgressOpen
	}
	name := s.User
	if name == "" {
		name = c.User
	}
	who, err := findUser(img.Rootfs, name)
	if err != nil {
		return sandbox.Spec{}, fmt.Errorf("start instance: %w", err)
	}
	out.UID, out.GID, out.Groups = who.uid, who.gid, who.groups
	return out, nil
}

// mergeEnv gives each variable once: the later one counts.
func mergeEnv(lists ...[]string) (out []string) {
	at := map[string]int{}
	for _, list := range lists {
		for _, v := range list {
			name, _, _ := strings.Cut(v, "=")
			if i, there := at[name]; there {
				out[i] = v
				continue
			}
			at[name] = len(out)
			out = append(out, v)
		}
	}
	return out
}

// user is whom a program runs as.
type user struct {
	uid, gid uint32
	groups   []uint32
}

// findUser reads USER or USER:GROUP, each a number or a name of the image under
// rootfs; empty is root. As with Docker a number that the image doesn't know is
// taken as it is.
func findUser(rootfs, name string) (user, error) {
	root, err := os.OpenRoot(rootfs)
	if err != nil {
		return user{}, fmt.Errorf("find user: %w", err)
	}
	defer root.Close()
	passwd, err := readAccounts(root, "etc/passwd")
	if err != nil {
		return user{}, err
	}
	group, err := readAccounts(root, "etc/group")
	if err != nil {
		return user{}, err
	}
	return pickUser(name, passwd, group)
}

// readAccounts reads a list that may be missing.
func readAccounts(root *os.Root, name string) (string, error) {
	f, err := root.Open(name)
	if err != nil {
		return "", nil // not there, or it leads out of the image
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", nil
	}
	b, err := io.ReadAll(io.LimitReader(f, maxAccounts))
	if err != nil {
		return "", fmt.Errorf("read %s of the image: %w", name, err)
	}
	return string(b), nil
}

// pickUser is findUser with what the image's lists say (passwd(5), group(5)).
func pickUser(name, passwd, group string) (out user, err error) {
	who, of, withGroup := strings.Cut(name, ":")
	if who == "" {
		who = "0"
	}
	number, err := strconv.ParseUint(who, 10, 32)
	known := err == nil
	if known {
		out.uid = uint32(number)
	}
	account := ""
	for line := range strings.SplitSeq(passwd, "\n") {
		f := strings.Split(line, ":")
		if len(f) < 4 || f[0] != who && (!known || f[2] != who) {
			continue
		}
		uid, uerr := strconv.ParseUint(f[2], 10, 32)
		gid, gerr := strconv.ParseUint(f[3], 10, 32)
		if uerr == nil && gerr == nil {
			out.uid, out.gid, account, known = uint32(uid), uint32(gid), f[0], true
			break
		}
	}
	if !known {
		return user{}, fault.New(fault.BadRequest, "find user: the image has none called %q", fault.Brief(who))
	}
	if withGroup {
		gid, err := strconv.ParseUint(of, 10, 32)
		found := err == nil
		for line := range strings.SplitSeq(group, "\n") {
			f := strings.Split(line, ":")
			if len(f) < 3 || f[0] != of {
				continue
			}
			if n, err := strconv.ParseUint(f[2], 10, 32); err == nil {
				gid, found = n, true
				break
			}
		}
		if !found {
			return user{}, fault.New(fault.BadRequest, "find user: the image has no group %q", fault.Brief(of))
		}
		out.gid = uint32(gid)
		return out, nil
	}
	for line := range strings.SplitSeq(group, "\n") {
		f := strings.Split(line, ":")
		if len(f) < 4 || account == "" || !slices.Contains(strings.Split(f[3], ","), account) || len(out.groups) == maxGroups {
			continue
		}
		if n, err := strconv.ParseUint(f[2], 10, 32); err == nil {
			out.groups = append(out.groups, uint32(n))
		}
	}
	return out, nil
}

// maxGroups is how many groups more than its own an account has.
const maxGroups = 64

// program is what exec runs, as whom.
func (v *visit) program(s instance.Spec, id instance.ID, ask *wire.Exec) (sandbox.Exec, error) {
	words := instance.Spec{
		Args: ask.GetArgs(), Env: ask.GetEnv(), Dir: ask.GetDir(), User: ask.GetUser(),
		CPU: s.CPU, Memory: s.Memory, Disk: s.Disk, Pids: s.Pids,
	}
	if err := words.Check(); err != nil {
		return sandbox.Exec{}, err
	}
	if len(words.Args) == 0 {
		return sandbox.Exec{}, fault.New(fault.BadRequest, "run program in instance %x: nothing is named", id)
	}
	r := sandbox.Exec{
		Args: words.Args, Env: words.Env, Dir: words.Dir, TTY: ask.GetTty(),
		Rows: uint16(ask.GetSize().GetRows()), Cols: uint16(ask.GetSize().GetCols()),
	}
	if words.User == "" {
		return r, nil
	}
	img, release, err := v.c.Images.Get(v.ctx, digestOf(s.Image), nowhere{})
	if err != nil {
		return sandbox.Exec{}, err
	}
	defer release()
	who, err := findUser(img.Rootfs, words.User)
	if err != nil {
		return sandbox.Exec{}, fmt.Errorf("run program in instance %x: %w", id, err)
	}
	r.UID, r.GID = &who.uid, &who.gid
	return r, nil
}
