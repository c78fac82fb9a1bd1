package machine_test

import (
	"bytes"
	"crypto/ed25519"
	"math"
	"slices"
	"strings"
	"testing"

	"hearth/core/fault"
	"hearth/core/machine"
)

const (
	net  = "hearth-0123456789abcdef0123"
	host = "hearth1host"
	now  = 1_800_000_000
)

var (
	key    = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	public = key.Public().(ed25519.PublicKey)
)

// small is a machine that has just what is usual.
func small() machine.Figures {
	l := machine.Usual()
	return machine.Figures{
		Core: l.Core, All: 4 * l.Core, Cores: 4, Memory: l.Memory, Copy: l.Copy,
		DiskWrite: l.DiskWrite, DiskRead: l.DiskRead, DiskFree: 1 << 30, Measured: now,
	}
}

func good() machine.Class {
	c := machine.Class{ChainID: net, Host: host, Figures: small()}
	c.GPUs = []machine.GPU{{Vendor: "NVIDIA", Model: "T4", Memory: 16 << 30}}
	return c
}

func TestWhichClassesAreBelieved(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(c *machine.Class)
		want fault.Code
	}{
		{"a fresh one", func(*machine.Class) {}, ""},
		{"without a GPU", func(c *machine.Class) { c.GPUs = nil }, ""},
		{"as old as is believed", func(c *machine.Class) { c.Measured = now - machine.Lasts }, ""},
		{"a second older", func(c *machine.Class) { c.Measured = now - machine.Lasts - 1 }, fault.Stale},
		{"from before the epoch", func(c *machine.Class) { c.Measured = math.MinInt64 }, fault.Stale},
		{"by a clock ten minutes ahead", func(c *machine.Class) { c.Measured = now + 600 }, ""},
		{"a second further", func(c *machine.Class) { c.Measured = now + 601 }, fault.BadRequest},
		{"at the end of time", func(c *machine.Class) { c.Measured = math.MaxInt64 }, fault.BadRequest},
		{"of another network", func(c *machine.Class) { c.ChainID += "4" }, fault.WrongNetwork},
		{"of another host", func(c *machine.Class) { c.Host += "x" }, fault.BadSignature},
	} {
		c := good()
		tt.make(&c)
		if got := fault.CodeOf(c.Sign(key).Check(net, host, public, now)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestASignatureCoversEveryField(t *testing.T) {
	for name, change := range map[string]func(s *machine.Signed){
		"core":       func(s *machine.Signed) { s.Core++ },
		"all":        func(s *machine.Signed) { s.All++ },
		"cores":      func(s *machine.Signed) { s.Cores++ },
		"memory":     func(s *machine.Signed) { s.Memory++ },
		"copy":       func(s *machine.Signed) { s.Copy++ },
		"disk write": func(s *machine.Signed) { s.DiskWrite++ },
		"disk read":  func(s *machine.Signed) { s.DiskRead++ },
		"disk free":  func(s *machine.Signed) { s.DiskFree++ },
		"time":       func(s *machine.Signed) { s.Measured++ },
		"vendor":     func(s *machine.Signed) { s.GPUs = []machine.GPU{{Vendor: "AMD", Model: "T4", Memory: 16 << 30}} },
		"model":      func(s *machine.Signed) { s.GPUs = []machine.GPU{{Vendor: "NVIDIA", Model: "T5", Memory: 16 << 30}} },
		"one less":   func(s *machine.Signed) { s.GPUs = nil },
		"one more":   func(s *machine.Signed) { s.GPUs = append(slices.Clone(s.GPUs), s.GPUs[0]) },
		"signature":  func(s *machine.Signed) { s.Sig = append([]byte{s.Sig[0] ^ 1}, s.Sig[1:]...) },
		"none":       func(s *machine.Signed) { s.Sig = nil },
	} {
		s := good().Sign(key)
		change(&s)
		if got := fault.CodeOf(s.Check(net, host, public, now)); got != fault.BadSignature {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := fault.CodeOf(good().Sign(key).Check(net, host, public[:31], now)); got != fault.BadSignature {
		t.Errorf("a short key: %q", got)
	}
}

func TestClassesOfOtherFormsAreRefused(t *testing.T) {
	whole := good().Sign(key).Encode()
	many, long, odd := good(), good(), good()
	many.GPUs = make([]machine.GPU, machine.MaxGPUs+1)
	long.GPUs[0].Model = strings.Repeat("x", machine.MaxText+1)
	odd.GPUs[0].Vendor = "\x1b[31m"
	for _, tt := range []struct {
		name string
		in   []byte
		want fault.Code
	}{
		{"nothing", nil, fault.BadFrame},
		{"another major", append([]byte{2}, whole[1:]...), fault.UnknownFormat},
		{"cut short", whole[:len(whole)-1], fault.BadFrame},
		{"a byte too many", append(bytes.Clone(whole), 0), fault.BadFrame},
		{"too large", make([]byte, machine.MaxBytes+1), fault.TooLarge},
		{"too many GPUs", many.Sign(key).Encode(), fault.TooLarge},
		{"a name too long", long.Sign(key).Encode(), fault.TooLarge},
		{"a name that moves the cursor", odd.Sign(key).Encode(), fault.BadFrame},
	} {
		if _, err := machine.Decode(tt.in); fault.CodeOf(err) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestTheLargestClassFits(t *testing.T) {
	c := machine.Class{ChainID: strings.Repeat("c", 128), Host: strings.Repeat("h", 128)}
	for range machine.MaxGPUs {
		c.GPUs = append(c.GPUs, machine.GPU{Vendor: strings.Repeat("v", machine.MaxText), Model: strings.Repeat("m", machine.MaxText)})
	}
	if _, err := machine.Decode(c.Sign(key).Encode()); err != nil {
		t.Error(err)
	}
}

func TestWhatADriverSaysBecomesPlain(t *testing.T) {
	if got := machine.Plain("GTX\x1b[0m™ 1080"); got != "GTX[0m 1080" {
		t.Errorf("%q", got)
	}
	if got := machine.Plain(strings.Repeat("é-", 100)); got != strings.Repeat("-", machine.MaxText) {
		t.Errorf("%q", got)
	}
}

func TestWhatIsTooLittle(t *testing.T) {
	for name, change := range map[string]func(f *machine.Figures){
		"core":       func(f *machine.Figures) { f.Core-- },
		"memory":     func(f *machine.Figures) { f.Memory-- },
		"copy":       func(f *machine.Figures) { f.Copy-- },
		"disk_write": func(f *machine.Figures) { f.DiskWrite-- },
		"disk_read":  func(f *machine.Figures) { f.DiskRead-- },
	} {
		f := small()
		change(&f)
		short := machine.Usual().Short(f)
		if len(short) != 1 || short[0].What != name || short[0].Reason == "" || short[0].Fix == "" {
			t.Errorf("%s: %+v", name, short)
		}
	}
	if short := machine.Usual().Short(small()); short != nil {
		t.Errorf("just enough: %+v", short)
	}
	if short := (machine.Least{}).Short(machine.Figures{}); short != nil {
		t.Errorf("nothing is asked for: %+v", short)
	}
	if short := machine.Usual().Short(machine.Figures{}); len(short) != 5 {
		t.Errorf("of nothing there is too little of everything: %+v", short)
	}
}

func TestAShortfallSaysWhatThereIsWhatIsNeededAndTheFix(t *testing.T) {
	f := small()
	f.Core, f.DiskWrite = 40_000_000, 4_000_000
	got := machine.Told(machine.Usual().Short(f))
	for _, want := range []string{
		"one core computes 40 Mgas/s, 200 Mgas/s are needed: ", "; disk writes 4 MB a second, 10 MB are needed: use another disk with --dir",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q isn't in %q", want, got)
		}
	}
}

func TestSpeeds(t *testing.T) {
	for gas, want := range map[uint64]string{0: "0 Mgas/s", 310_000_000: "310 Mgas/s", 2_140_000_000: "2.1 Ggas/s"} {
		if got := machine.Speed(gas); got != want {
			t.Errorf("%d: %q, want %q", gas, got, want)
		}
	}
}

// Whatever decodes is the one encoding of its class.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(good().Sign(key).Encode())
	f.Add(machine.Class{}.Sign(key).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := machine.Decode(b)
		if err != nil {
			return
		}
		if again := s.Encode(); !bytes.Equal(again, b) {
			t.Errorf("%x decodes, and is written as %x", b, again)
		}
	})
}
