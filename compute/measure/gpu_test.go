package measure

import (
	"reflect"
	"testing"
	"testing/fstest"

	"hearth/core/machine"
)

// tree is a file system of the files' texts.
func tree(files map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, text := range files {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

// device is what /sys shows of one.
func device(files map[string]string, at, class, vendor, device string) {
	dir := "sys/bus/pci/devices/" + at + "/"
	files[dir+"class"], files[dir+"vendor"], files[dir+"device"] = class+"\n", vendor+"\n", device+"\n"
}

const pciIDs = `#
#	List of PCI ID's
#
1002  Advanced Micro Devices, Inc. [AMD/ATI]
	73bf  Navi 21 [Radeon RX 6800/6800 XT / 6900 XT]
		1002 0e3a  Radeon RX 6900 XT
10de  NVIDIA Corporation
	2684  AD102 [GeForce RTX 4090]
17cb  Qualcomm Technologies, Inc
	0001  Something that draws
C 03  Display controller
	00  VGA compatible controller
`

func TestWhichGPUsThereAre(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files func(f map[string]string)
		want  []machine.GPU
	}{
		{"no bus", func(map[string]string) {}, nil},
		{"a bus without one", func(f map[string]string) { device(f, "0000:00:1f.6", "0x020000", "0x8086", "0x15be") }, nil},
		{"the screen of a virtual machine", func(f map[string]string) { device(f, "0000:00:02.0", "0x030000", "0x1234", "0x1111") }, nil},
		{"the screen of a server", func(f map[string]string) { device(f, "0000:04:00.0", "0x030000", "0x1a03", "0x2000") }, nil},
		{"one of NVIDIA's, with its driver", func(f map[string]string) {
			device(f, "0000:01:00.0", "0x030000", "0x10de", "0x2684")
			device(f, "0000:01:00.1", "0x040300", "0x10de", "0x22ba") // its sound
			f["usr/share/misc/pci.ids"] = pciIDs
			f["proc/driver/nvidia/gpus/0000:01:00.0/information"] = "Model: \t\t NVIDIA GeForce RTX 4090\nIRQ:   \t\t 151\nGPU UUID: \t GPU-5f0c\nBus Location: \t 0000:01:00.0\n"
		}, []machine.GPU{{Vendor: "NVIDIA", Model: "NVIDIA GeForce RTX 4090"}}},
		{"the same without a driver", func(f map[string]string) {
			device(f, "0000:01:00.0", "0x030200", "0x10de", "0x2684")
			f["usr/share/hwdata/pci.ids"] = pciIDs
		}, []machine.GPU{{Vendor: "NVIDIA", Model: "AD102 [GeForce RTX 4090]"}}},
		{"the same without a list of names", func(f map[string]string) {
			device(f, "0000:01:00.0", "0x030200", "0x10de", "0x2684")
		}, []machine.GPU{{Vendor: "NVIDIA", Model: "0x2684"}}},
		{"AMD's tells its memory", func(f map[string]string) {
			device(f, "0000:0b:00.0", "0x030000", "0x1002", "0x73bf")
			f["sys/bus/pci/devices/0000:0b:00.0/mem_info_vram_total"] = "17163091968\n"
			f["usr/share/misc/pci.ids"] = pciIDs
		}, []machine.GPU{{Vendor: "AMD", Model: "Navi 21 [Radeon RX 6800/6800 XT / 6900 XT]", Memory: 17163091968}}},
		{"two, by address", func(f map[string]string) {
			device(f, "0000:41:00.0", "0x030200", "0x10de", "0x2684")
			device(f, "0000:00:02.0", "0x030000", "0x8086", "0x9a49")
		}, []machine.GPU{{Vendor: "Intel", Model: "0x9a49"}, {Vendor: "NVIDIA", Model: "0x2684"}}},
		{"a vendor of the list", func(f map[string]string) {
			device(f, "0000:01:00.0", "0x038000", "0x17cb", "0x0001")
			f["usr/share/misc/pci.ids"] = pciIDs
		}, []machine.GPU{{Vendor: "Qualcomm Technologies, Inc", Model: "Something that draws"}}},
		{"a vendor of nobody's list", func(f map[string]string) {
			device(f, "0000:01:00.0", "0x030000", "0xbeef", "0x0001")
		}, []machine.GPU{{Vendor: "0xbeef", Model: "0x0001"}}},
		{"a part of a card, for a guest", func(f map[string]string) {
			device(f, "0000:01:00.4", "0x030200", "0x10de", "0x2684")
			f["sys/bus/pci/devices/0000:01:00.4/physfn/class"] = "0x030200\n"
		}, nil},
		{"a driver that writes nonsense", func(f map[string]string) {
			device(f, "0000:01:00.0", "0x030000", "0x10de", "0x2684")
			f["proc/driver/nvidia/gpus/0000:01:00.0/information"] = "Model: \x1b[2JTesla\xff T4\n"
		}, []machine.GPU{{Vendor: "NVIDIA", Model: "[2JTesla T4"}}},
	} {
		files := map[string]string{}
		tt.files(files)
		if got := GPUs(tree(files)); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

func TestMoreGPUsThanAClassHolds(t *testing.T) {
	files := map[string]string{}
	for i := range 40 {
		device(files, "0000:"+string(rune('a'+i%26))+string(rune('a'+i/26))+":00.0", "0x030200", "0x10de", "0x2684")
	}
	if got := GPUs(tree(files)); len(got) != machine.MaxGPUs {
		t.Errorf("%d", len(got))
	}
}

func TestAControlGroupLeavesLessMemory(t *testing.T) {
	const installed = 8 << 30
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  uint64
	}{
		{"no control groups", nil, installed},
		{"no limit", map[string]string{"proc/self/cgroup": "0::/user.slice\n", "sys/fs/cgroup/user.slice/memory.max": "max\n"}, installed},
		{"a limit", map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "1073741824\n"}, 1 << 30},
		{"a group above has less", map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "1073741824\n", "sys/fs/cgroup/a/memory.max": "536870912\n"}, 512 << 20},
		{"in a container, where the path isn't seen", map[string]string{"proc/self/cgroup": "0::/../../docker/x\n", "sys/fs/cgroup/memory.max": "536870912\n"}, 512 << 20},
		{"the older kind", map[string]string{"proc/self/cgroup": "5:cpu:/a\n4:memory:/a\n0::/\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "1073741824\n"}, 1 << 30},
		{"the older kind without a limit", map[string]string{"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, installed},
		{"more than there is", map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "17179869184\n"}, installed},
		{"nonsense", map[string]string{"proc/self/cgroup": "x\n0::\n:::::\n", "sys/fs/cgroup/memory.max": "-1\n"}, installed},
	} {
		if got := within(tree(tt.files), installed); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
