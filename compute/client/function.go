package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"hearth/core/call"
	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/gas"
	"hearth/core/store"
	"hearth/internal/bounded"
	"hearth/internal/durable"
)

// Limits of a function's calls, where it names none.
const (
	DefaultGas      = 20_000_000_000 // about 5 s of a core
	DefaultPages    = 2048           // 128 MiB
	DefaultDeadline = 10 * time.Second
	MaxDeadline     = time.Minute
)

// A Function is a module under a name, and how it is run.
type Function struct {
	Name     string
	Module   [32]byte // SHA-256
	Size     int64    // of the module
	Gas      uint64   // of one call at most
	Pages    uint32   // of memory at most, 64 KiB each
	Deadline time.Duration
	Env      []string // NAME=value
	Created  int64    // unix seconds
	Store    int      // how large its key-value store may become, as core/store counts; 0: it has none
}

const (
	major     = 1
	major2    = 2                                      // of a function with a store
	maxRecord = call.MaxWords + 4*call.MaxCount + 1024 // a length for each variable
	named     = "functions/"                           // what settings are kept under, by name
	modules   = "modules/"                             // and modules, by digest
)

var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (f Function) encode() []byte {
	form := byte(major)
	if f.Store > 0 {
		form = major2
	}
	w := canon.New(form).String(f.Name).Fixed(f.Module[:]).Int64(f.Size).Uint64(f.Gas).Uint64(uint64(f.Pages)).
		Uint64(uint64(f.Deadline / time.Millisecond)).Int64(f.Created).Uint64(uint64(len(f.Env)))
	for _, e := range f.Env {
		w.String(e)
	}
	if f.Store > 0 {
		w.Uint64(uint64(f.Store))
	}
	return w.Bytes()
}

func decodeFunction(b []byte) (f Function, err error) {
	form := byte(major)
	if len(b) > 0 && b[0] == major2 {
		form = major2
	}
	r := canon.Read(b, form)
	f.Name = r.String(64)
	r.Fixed(f.Module[:])
	f.Size, f.Gas = r.Int64(), r.Uint64()
	pages, deadline := r.Uint64(), r.Uint64()
	f.Created = r.Int64()
	count := r.Uint64()
	if count > call.MaxCount {
		return Function{}, fault.New(fault.BadFrame, "read function: %d variables", count)
	}
	for range count {
		f.Env = append(f.Env, r.String(call.MaxWords))
	}
	if form == major2 {
		room := r.Uint64()
		if r.Done() == nil && (room == 0 || room > store.MaxSize) {
			return Function{}, fault.New(fault.BadFrame, "read function: a store of %d bytes", room)
		}
		f.Store = int(min(room, store.MaxSize))
	}
	if err := r.Done(); err != nil {
		return Function{}, fault.New(fault.CodeOf(err), "read function: %w", err)
	}
	f.Pages, f.Deadline = uint32(min(pages, call.MaxPages+1)), time.Duration(min(deadline, 1<<40))*time.Millisecond
	return f, f.check()
}

// check refuses settings that no call could have.
func (f Function) check() error {
	switch {
	case !nameForm.MatchString(f.Name):
		return fault.New(fault.BadName, "function %q: a name has 1 to 63 of a-z, 0-9 and -, and begins and ends with a letter or digit", f.Name)
	case f.Pages == 0 || f.Pages > call.MaxPages:
		return fault.New(fault.BadRequest, "function %s: memory of %d pages of 64 KiB, 1 to %d are allowed", f.Name, f.Pages, call.MaxPages)
	case f.Deadline < time.Millisecond || f.Deadline > MaxDeadline:
		return fault.New(fault.BadRequest, "function %s: a deadline of %s, 1ms to %s are allowed", f.Name, f.Deadline, MaxDeadline)
	case f.Store < 0 || f.Store > store.MaxSize:
		return fault.New(fault.BadRequest, "function %s: a store of %d bytes, at most %d are allowed", f.Name, f.Store, store.MaxSize)
	case f.Size <= 0 || f.Size > gas.MaxModule:
		return fault.New(fault.TooLarge, "function %s: a module of %d bytes, 1 to %d are allowed", f.Name, f.Size, gas.MaxModule)
	}
	return call.Call{Gas: f.Gas, Env: f.Env, Pages: f.Pages, MaxOutput: call.MaxOutput}.Check()
}

// Deploy keeps a module under a name, in the place of what was there. It is
// checked here as hosts will; hosts get it with the first call. A store of size 0 is
// as it was, one below 0 is none.
func (x *Client) Deploy(ctx context.Context, f Function, module []byte) (Function, error) {
	f.Module, f.Size, f.Created = sha256.Sum256(module), int64(len(module)), x.c.Now().Unix()
	if f.Gas == 0 {
		f.Gas = DefaultGas
	}
	if f.Pages == 0 {
		f.Pages = DefaultPages
	}
	if f.Deadline == 0 {
		f.Deadline = DefaultDeadline
	}
	wished := f
	wished.Store = max(f.Store, 0)
	if err := wished.check(); err != nil {
		return Function{}, err
	}
	m, err := gas.Meter(module)
	if err != nil {
		return Function{}, err
	}
	if m.Pages > f.Pages {
		return Function{}, fault.New(fault.BadRequest, "deploy %s: the module begins with %d pages of memory, %d are allowed", f.Name, m.Pages, f.Pages)
	}
	x.changing.Lock()
	defer x.changing.Unlock()
	all, err := x.Functions(ctx)
	if err != nil {
		return Function{}, err
	}
	if err := x.resized(ctx, &f, all); err != nil {
		return Function{}, err
	}
	if err := x.copied(f.Module, module); err != nil {
		return Function{}, err
	}
	if !uses(all, f.Module) {
		if err := x.c.Blobs.Keep(ctx, blob(f.Module), module); err != nil {
			return Function{}, fmt.Errorf("keep module of %s: %w", f.Name, err)
		}
	}
	if err := x.c.Blobs.Keep(ctx, named+f.Name, f.encode()); err != nil {
		return Function{}, fmt.Errorf("keep settings of %s: %w", f.Name, err)
	}
	x.tidy(ctx, all, f.Name, f.Module)
	return f, nil
}

// Functions lists them by name.
func (x *Client) Functions(ctx context.Context) ([]Function, error) {
	names, err := x.c.Blobs.Names(ctx, named)
	if err != nil {
		return nil, err
	}
	out := make([]Function, 0, len(names))
	for _, n := range names {
		f, err := x.Function(ctx, strings.TrimPrefix(n, named))
		if fault.CodeOf(err) == fault.NotFound {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// Function finds one by its name.
func (x *Client) Function(ctx context.Context, name string) (Function, error) {
	if !nameForm.MatchString(name) {
		return Function{}, fault.New(fault.NotFound, "there is no function %q", name)
	}
	b := &bounded.Buffer{Most: maxRecord}
	err := x.c.Blobs.Read(ctx, named+name, b)
	if fault.CodeOf(err) == fault.NotFound {
		return Function{}, fault.New(fault.NotFound, "there is no function %q", name)
	}
	if err != nil {
		return Function{}, fmt.Errorf("read function %s: %w", name, err)
	}
	f, err := decodeFunction(b.Bytes())
	if err == nil && f.Name != name {
		return Function{}, fault.New(fault.DamagedFile, "read function %s: the record is that of %s", name, f.Name)
	}
	return f, err
}

// Remove forgets a function, its store and log, and its module unless another uses it. While
// the settings of one can't be read, nobody can tell: then the module stays.
func (x *Client) Remove(ctx context.Context, name string) error {
	x.changing.Lock()
	defer x.changing.Unlock()
	f, err := x.Function(ctx, name)
	if fault.CodeOf(err) == fault.NotFound {
		return err
	}
	leave, err := x.turn(ctx, name) // a call that is under way changes its store before
	if err != nil {
		return err
	}
	defer leave()
	if f.Store > 0 {
		_, unclaim, err := x.claim(ctx, name)
		if err != nil {
			return err
		}
		defer func() {
			unclaim()
			_ = x.c.Blobs.Drop(context.WithoutCancel(ctx), x.claimOf(name, x.c.Device)) // there may be none
		}()
	}
	all, unread := x.Functions(ctx)
	if err := x.c.Blobs.Drop(ctx, named+name); err != nil {
		return err
	}
	if err := x.forgotten(ctx, name); err != nil {
		return err
	}
	if unread == nil {
		x.tidy(ctx, all, name, [32]byte{})
	} else {
		x.c.Log.Warn("a removed function's module stays", "function", name, "err", unread)
	}
	return x.logs.drop(name)
}

func uses(all []Function, module [32]byte) bool {
	return slices.ContainsFunc(all, func(f Function) bool { return f.Module == module })
}

// tidy drops the module that a function had, where no function has it now. all is
// what there was before.
func (x *Client) tidy(ctx context.Context, all []Function, name string, now [32]byte) {
	i := slices.IndexFunc(all, func(f Function) bool { return f.Name == name })
	if i < 0 || all[i].Module == now || uses(slices.Delete(slices.Clone(all), i, i+1), all[i].Module) {
		return
	}
	old := all[i].Module
	err := x.c.Blobs.Drop(ctx, blob(old))
	if e := os.Remove(x.copyOf(old)); !errors.Is(e, os.ErrNotExist) {
		err = errors.Join(err, e)
	}
	if err != nil {
		x.c.Log.Warn("forget a function's module", "function", name, "err", err)
	}
}

// blob is the name under which a module is kept.
func blob(module [32]byte) string { return modules + hex.EncodeToString(module[:]) + ".wasm" }

// module gives a function's module, from the copy here or from hosts.
func (x *Client) module(ctx context.Context, f Function) ([]byte, error) {
	if b, err := os.ReadFile(x.copyOf(f.Module)); err == nil && sha256.Sum256(b) == f.Module {
		return b, nil
	}
	b := &bounded.Buffer{Most: int(f.Size)}
	if err := x.c.Blobs.Read(ctx, blob(f.Module), b); err != nil {
		return nil, fmt.Errorf("read module of %s: %w", f.Name, err)
	}
	if sha256.Sum256(b.Bytes()) != f.Module {
		return nil, fault.New(fault.DamagedFile, "read module of %s: it isn't what was deployed", f.Name)
	}
	if err := x.copied(f.Module, b.Bytes()); err != nil {
		x.c.Log.Warn("module is read from hosts each time", "function", f.Name, "err", err)
	}
	return b.Bytes(), nil
}

func (x *Client) copyOf(module [32]byte) string {
	return filepath.Join(x.c.Dir, filepath.FromSlash(blob(module)))
}

// copied keeps a copy of a module on this machine.
func (x *Client) copied(module [32]byte, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(x.copyOf(module)), 0o700); err != nil {
		return fmt.Errorf("keep module: %w", err)
	}
	return durable.Write(x.copyOf(module), b, 0o600)
}
