package machine_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"hearth/core/canon"
	"hearth/core/machine"
)

type vector struct {
	Name      string
	ChainID   string `json:"chain_id"`
	Host      string
	Core      uint64 `json:",string"`
	All       uint64 `json:",string"`
	Cores     uint64 `json:",string"`
	Memory    uint64 `json:",string"`
	Copy      uint64 `json:",string"`
	DiskWrite uint64 `json:"disk_write,string"`
	DiskRead  uint64 `json:"disk_read,string"`
	DiskFree  uint64 `json:"disk_free,string"`
	Measured  int64  `json:",string"`
	GPUs      []struct {
		Vendor, Model string
		Memory        uint64 `json:",string"`
	}
	HostSeed string `json:"host_seed"`
	HostKey  string `json:"host_key"`
	Bytes    string
	Digest   string
	Sig      string
	Wire     string
}

// The vectors in docs/formats were made by another implementation.
func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("../../docs/formats/testdata/machine.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		c := machine.Class{ChainID: v.ChainID, Host: v.Host, Figures: machine.Figures{
			Core: v.Core, All: v.All, Cores: v.Cores, Memory: v.Memory, Copy: v.Copy,
			DiskWrite: v.DiskWrite, DiskRead: v.DiskRead, DiskFree: v.DiskFree, Measured: v.Measured,
		}}
		for _, g := range v.GPUs {
			c.GPUs = append(c.GPUs, machine.GPU(g))
		}
		seed, err := hex.DecodeString(v.HostSeed)
		if err != nil {
			t.Fatal(err)
		}
		key := ed25519.NewKeyFromSeed(seed)
		s := c.Sign(key)
		digest := canon.Digest("hearth/machine/1", c.Encode())
		for _, part := range []struct {
			name string
			got  []byte
			want string
		}{
			{"key", key.Public().(ed25519.PublicKey), v.HostKey},
			{"bytes", c.Encode(), v.Bytes},
			{"digest", digest[:], v.Digest},
			{"signature", s.Sig, v.Sig},
			{"wire", s.Encode(), v.Wire},
		} {
			if hex.EncodeToString(part.got) != part.want {
				t.Errorf("%s: %s is %x, want %s", v.Name, part.name, part.got, part.want)
			}
		}
		if got, err := machine.Decode(s.Encode()); err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("%s: read as %+v, %v", v.Name, got, err)
		}
	}
}
