package node

import (
	"fmt"
	"runtime"
	"strconv"

	"hearth/core/instance"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/internal/size"
)

// InstanceSettings say what of this machine is rented out to others' instances.
type InstanceSettings struct {
	Sell   bool   `toml:"sell"`   // where containers can run here
	CPU    string `toml:"cpu"`    // cores; empty: all there are
	Memory string `toml:"memory"` // empty: half of what there is
	Disk   string `toml:"disk"`   // for what they write, and their images beside it
	MachinePrices
}

// MachinePrices is a price list of machines as people write it, in ember for 30 days.
type MachinePrices struct {
	Core   string `toml:"core_month"`
	Memory string `toml:"memory_gib_month"`
	Disk   string `toml:"disk_gib_month"`
}

// Units turns what people write into the ledger's figures.
func (p MachinePrices) Units() (out [quote.Dims]uint64, err error) {
	for d, text := range []string{p.Core, p.Memory, p.Disk} {
		amount, err := money.Parse(text)
		if err != nil {
			return out, err
		}
		out[d] = money.MulDiv(uint64(amount), money.RateUnit, month)
	}
	return out, nil
}

// into reads the settings for the program.
func (s InstanceSettings) into(t *terms) (err error) {
	t.machines = t.host && s.Sell
	if t.machinePrice, err = s.Units(); err != nil || !t.machines {
		return err
	}
	cores := float64(runtime.NumCPU())
	if s.CPU != "" {
		if cores, err = strconv.ParseFloat(s.CPU, 64); err != nil || cores <= 0 || cores > 1<<20 {
			return fmt.Errorf("cpu: %q isn't a number of cores, like 1.5", s.CPU)
		}
	}
	memory := installed() / 2
	if s.Memory != "" {
		if memory, err = size.Parse(s.Memory); err != nil {
			return fmt.Errorf("memory: %w", err)
		}
	}
	disk, err := size.Parse(s.Disk)
	if err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	if memory > instance.MaxBytes || disk > instance.MaxBytes {
		return fmt.Errorf("memory and disk: at most %d bytes each", uint64(instance.MaxBytes))
	}
	t.machine = quote.Units{uint64(cores * quote.GiB), memory, disk}
	return nil
}
