package measure

import (
	"bufio"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"hearth/core/machine"
)

// screens are vendors whose display controllers only show a virtual machine's or a
// server's screen, and compute nothing.
var screens = []string{
	"0x1234", // QEMU
	"0x1af4", // virtio
	"0x1b36", // QXL
	"0x1013", // Cirrus, as emulated
	"0x15ad", // VMware
	"0x80ee", // VirtualBox
	"0x1414", // Hyper-V
	"0x1a03", // ASPEED
	"0x102b", // Matrox, in servers
	"0x19e5", // Huawei, in servers
}

// usually are vendors by what people call them, where no list of names is installed.
var usually = map[string]string{"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}

// GPUs lists what the machine's PCI bus has of them, by address. NVIDIA's driver names
// its own in /proc, but tells their memory only through its library, which needs C: it
// stays unknown here. AMD's driver tells it in /sys.
func GPUs(root fs.FS) (out []machine.GPU) {
	const bus = "sys/bus/pci/devices"
	entries, err := fs.ReadDir(root, bus)
	if err != nil {
		return nil
	}
	var names map[string]string
	for _, e := range entries { // in the order of their addresses
		read := func(name string) string {
			b, err := fs.ReadFile(root, path.Join(bus, e.Name(), name))
			if err != nil || len(b) > 256 {
				return ""
			}
			return strings.ToLower(strings.TrimSpace(string(b)))
		}
		vendor, device := read("vendor"), read("device")
		if !strings.HasPrefix(read("class"), "0x03") || vendor == "" || slices.Contains(screens, vendor) {
			continue
		}
		// A card that is passed on to several guests shows its parts as devices too.
		if _, err := fs.Stat(root, path.Join(bus, e.Name(), "physfn")); err == nil {
			continue
		}
		if names == nil {
			names = known(root)
		}
		g := machine.GPU{Vendor: usually[vendor], Model: device}
		if n := names[vendor]; g.Vendor == "" && n != "" {
			g.Vendor = n
		}
		if g.Vendor == "" {
			g.Vendor = vendor
		}
		if n := names[vendor+device]; n != "" {
			g.Model = n
		}
		if n := driverName(root, e.Name()); n != "" {
			g.Model = n
		}
		g.Memory, _ = strconv.ParseUint(read("mem_info_vram_total"), 10, 64)
		g.Vendor, g.Model = machine.Plain(g.Vendor), machine.Plain(g.Model)
		if out = append(out, g); len(out) == machine.MaxGPUs {
			break
		}
	}
	return out
}

// driverName is what NVIDIA's driver calls the card at a PCI address; "": it doesn't.
func driverName(root fs.FS, address string) string {
	b, err := fs.ReadFile(root, path.Join("proc/driver/nvidia/gpus", address, "information"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "Model" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// known reads the list of PCI names, where one is installed: a vendor by its id, a
// device by both.
func known(root fs.FS) map[string]string {
	out := map[string]string{}
	for _, file := range []string{"usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"} {
		f, err := root.Open(file)
		if err != nil {
			continue
		}
		defer f.Close()
		vendor := ""
		for lines := bufio.NewScanner(f); lines.Scan(); {
			line := lines.Text()
			switch {
			case line == "" || line[0] == '#' || strings.HasPrefix(line, "\t\t"):
			case strings.HasPrefix(line, "C "): // classes follow, which nobody asks for
				return out
			case line[0] == '\t':
				if id, name, ok := strings.Cut(line[1:], "  "); ok {
					out[vendor+"0x"+id] = name
				}
			default:
				if id, name, ok := strings.Cut(line, "  "); ok {
					vendor = "0x" + id
					out[vendor] = name
				}
			}
		}
		return out
	}
	return out
}
