//go:build linux && (amd64 || arm64)

package keeper

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"gvisor.dev/gvisor/pkg/sentry/state/checkpointfiles"
	"gvisor.dev/gvisor/pkg/sentry/state/stateio"
	"gvisor.dev/gvisor/pkg/sentry/state/stateipc"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/unet"
	"gvisor.dev/gvisor/pkg/urpc"
	"gvisor.dev/gvisor/runsc/boot"
	"gvisor.dev/gvisor/runsc/container"

	"hearth/cmd/hearth-sandbox/internal/checkpoint"
	"hearth/cmd/hearth-sandbox/internal/uplink"
	"hearth/compute/sandbox/wire"
	"hearth/core/fault"
)

// A held instance is one that is read back: all of it was verified before anything
// of it runs.
type held struct {
	file  *os.File
	state *io.SectionReader // what gVisor wrote
}

// openCheckpoint reads what the instance was, and gives its secrets back to its spec.
func (k *keeper) openCheckpoint(key []byte) (err error) {
	defer clear(key)
	f, err := os.Open(filepath.Join(k.folder, wire.Checkpoint))
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.BadCheckpoint, "there is none")
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r, err := checkpoint.Open(f, info.Size(), key)
	if err == nil {
		err = r.Verify()
	}
	if err != nil {
		return fault.New(fault.BadCheckpoint, "%w", err)
	}
	n, from, err := readNote(r)
	if err == nil {
		err = n.fits(k.launch.ID)
	}
	if err != nil {
		return fault.New(fault.BadCheckpoint, "%w", err)
	}
	k.launch.Spec.Secrets = n.Secrets
	k.held = &held{f, io.NewSectionReader(r, from, r.Size()-from)}
	return nil
}

// restore does what starting does, with what was held instead of a program: gVisor
// makes the sandbox's kernel anew from it. Its own way reads only whole files that lie
// open; this one gives it what it asks for, piece by piece.
func (k *keeper) restore() error {
	if err := k.plug(); err != nil {
		return fmt.Errorf("connect the network: %w", err)
	}
	ours, theirs, err := unet.SocketPair(false)
	if err != nil {
		return err
	}
	files, err := stateipc.NewAsyncFileServer(served{k.held.state})
	if err != nil {
		return errors.Join(err, ours.Close(), theirs.Close())
	}
	s := urpc.NewServer()
	s.Register(files)
	s.StartHandling(ours)
	defer s.Stop(0)
	fd, err := theirs.Release()
	if err != nil {
		return err
	}
	end := os.NewFile(uintptr(fd), "checkpoint")
	defer end.Close()
	err = k.ask(boot.ContMgrRestore, &boot.RestoreOpts{
		FilePayload: urpc.FilePayload{Files: []*os.File{end}}, UseCheckpointGofer: true,
	})
	if err == nil {
		err = k.sandbox.WaitRestore()
	}
	if err != nil { // another kind of processor, for one, or other limits
		return fault.New(fault.BadCheckpoint, "the sandbox can't go on: %w", err)
	}
	k.container.Status = container.Running // as its own way does
	return nil
}

// plug gives the sandbox's network stack the wire that starting gives it.
func (k *keeper) plug() error {
	end, hardware := k.net.Given()
	c := k.bundle.conf
	mask := net.CIDRMask(24, 32)
	subnet := net.IP(uplink.Instance.AsSlice()).Mask(mask)
	link := boot.FDBasedLink{
		Name: uplink.Device, MTU: uplink.MTU, LinkAddress: hardware,
		Addresses:         []boot.IPWithPrefix{{Address: uplink.Instance.AsSlice(), PrefixLen: 24}},
		Routes:            []boot.Route{{Destination: net.IPNet{IP: subnet, Mask: mask}}},
		TXChecksumOffload: c.TXChecksumOffload, RXChecksumOffload: c.RXChecksumOffload, GVisorGRO: c.GVisorGRO,
		NumChannels: 1, ProcessorsPerChannel: c.NetworkProcessorsPerChannel, QDisc: c.QDisc,
	}
	if c.GVisorGSO {
		link.GSOMaxSize, link.GVisorGSOEnabled = stack.GVisorGSOMaxSize, true
	}
	return k.ask(boot.ContMgrCreateLinksAndRoutes, &boot.CreateLinksAndRoutesArgs{
		LoopbackLinks: []boot.LoopbackLink{boot.DefaultLoopbackLink},
		FDBasedLinks:  []boot.FDBasedLink{link},
		Defaultv4Gateway: boot.DefaultRoute{Name: uplink.Device, Route: boot.Route{
			Destination: net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, Gateway: uplink.Gateway.AsSlice(),
		}},
		FilePayload: urpc.FilePayload{Files: []*os.File{end}},
	})
}

// served are the files that a sandbox which is restored may open: one, to be read.
type served struct{ state io.ReaderAt }

// How a sandbox reads: so much at once, and so many times beside each other.
const (
	readBytes    = 1 << 20
	readRanges   = 16
	readParallel = 2
)

func (s served) OpenRead(path string) (stateio.AsyncReader, error) {
	if path != checkpointfiles.StateFileName {
		return nil, fs.ErrNotExist
	}
	return stateio.NewIOReader(s.state, readBytes, readRanges, readParallel), nil
}

func (served) OpenWrite(string) (stateio.AsyncWriter, error) { return nil, fs.ErrPermission }

func (served) Destroy() {}
