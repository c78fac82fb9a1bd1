// Package demo shows the whole road on one machine: a local cloud of real
// programs, a real file stored on it, hosts that die, the file read back, hosts
// paid by the ledger. It says what it sees, and fails unless all of it held.
package demo

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"hearth/api"
	"hearth/core/fault"
	"hearth/node/cloud"
	"hearth/sdk"
)

// A Config is what Run needs.
type Config struct {
	Dir    string    // where the cloud lives; it is deleted at the end
	Out    io.Writer // what a person reads
	File   string    // what is stored; where it is smaller than MinSize, random bytes are
	Hearth string    // as cloud.Config.Hearth
}

const (
	// MinSize is the least that is stored.
	MinSize = 64 << 20
	hosts   = 10
	killed  = 4
	bucket  = "demo"
	key     = "file"
)

// demo is one run.
type demo struct {
	c      Config
	cloud  *cloud.Cloud
	client *sdk.Client
	dead   []*cloud.Process
	sum    [32]byte
	size   int64
}

// Run runs the demonstration; nil: all of it held.
func Run(ctx context.Context, c Config) (err error) {
	d := &demo{c: c}
	began := time.Now()
	d.say("A whole network on this machine: one ledger, %d hosts, one client, each a program of its own.", hosts)
	d.cloud, err = cloud.Start(ctx, cloud.Config{Dir: c.Dir, Hosts: hosts, Hearth: c.Hearth, Settle: 2 * time.Second})
	if err != nil {
		return err
	}
	defer func() {
		d.cloud.Stop()
		err = errors.Join(err, os.RemoveAll(c.Dir))
	}()
	d.say("  running after %s; a file is cut into %d shards, any %d give it back", took(began), d.cloud.Class.N, d.cloud.Class.K)
	d.say("  `hearth dev` keeps such a network running, with a door for S3 tools: eval $(hearth s3 env)")
	if d.client, err = sdk.New(sdk.Config{Socket: api.Socket(d.cloud.Client.Dir)}); err != nil {
		return err
	}
	defer d.client.Close()
	for _, step := range []func(context.Context) error{d.store, d.kill, d.fetch, d.revive, d.settle} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	d.say("\nAll of it held, in %s.", took(began))
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.c.Out, format+"\n", args...) }

func took(since time.Time) string { return time.Since(since).Round(100 * time.Millisecond).String() }

// store puts a real file.
func (d *demo) store(ctx context.Context) error {
	f, name, err := d.source()
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	d.size = info.Size()
	hash := sha256.New()
	began := time.Now()
	o, err := d.client.Put(ctx, bucket, key, io.TeeReader(f, hash), d.size, sdk.PutOptions{})
	if err != nil {
		return fmt.Errorf("store file: %w", err)
	}
	copy(d.sum[:], hash.Sum(nil))
	d.say("Stored %s (%s): encrypted, coded %s, on rented machines, in %s.", name, size(d.size), o.Class, took(began))
	if o.Pending > 0 {
		return fault.New(fault.StoredPartly, "store file: %d shards are still pending", o.Pending)
	}
	return nil
}

// source is the file to store: the one that was given, or random bytes.
func (d *demo) source() (*os.File, string, error) {
	if info, err := os.Stat(d.c.File); err == nil && info.Size() >= MinSize {
		f, err := os.Open(d.c.File)
		return f, filepath.Base(d.c.File), err
	}
	f, err := os.CreateTemp(d.c.Dir, "source-")
	if err != nil {
		return nil, "", err
	}
	if _, err = io.CopyN(f, rand.Reader, MinSize); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	return f, "random bytes", err
}

// kill ends hosts that hold shards, as a power cut would.
func (d *demo) kill(ctx context.Context) error {
	for _, p := range d.cloud.Hosts {
		account, err := cloud.Account(p.Dir)
		if err != nil {
			return err
		}
		held, _, err := d.shardsOf(ctx, account)
		if err != nil {
			return err
		}
		if held > 0 && len(d.dead) < killed {
			d.dead = append(d.dead, p)
		}
	}
	for _, p := range d.dead {
		p.Kill()
	}
	d.say("Killed %d of the %d hosts (SIGKILL), all of which hold a part of it.", len(d.dead), hosts)
	return nil
}

// fetch reads the file back and compares.
func (d *demo) fetch(ctx context.Context) error {
	began := time.Now()
	in, err := d.client.Get(ctx, bucket, key, sdk.GetOptions{})
	if err != nil {
		return fmt.Errorf("read file back: %w", err)
	}
	defer in.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, in)
	if err != nil {
		return fmt.Errorf("read file back: %w", err)
	}
	if n != d.size || [32]byte(hash.Sum(nil)) != d.sum {
		return fault.New(fault.DamagedFile, "read file back: %d bytes, and not those that were stored", n)
	}
	d.say("Read it back from the others in %s: byte for byte the same.", took(began))
	return nil
}

// revive starts one host again and looks whether it still holds its shards.
func (d *demo) revive(ctx context.Context) error {
	p := d.dead[0]
	if err := p.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := p.Ready(ctx); err != nil {
		return err
	}
	host, err := sdk.New(sdk.Config{Socket: api.Socket(p.Dir)})
	if err != nil {
		return err
	}
	defer host.Close()
	node, err := host.Node(ctx)
	if err != nil {
		return err
	}
	for {
		held, of, err := d.shardsOf(ctx, node.Account)
		if err != nil {
			return err
		}
		if held == of && of > 0 {
			d.say("Started %s again: it still holds its %d shards.", p.Name, of)
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.NotEnoughShards, "%s holds %d of its %d shards after a restart", p.Name, held, of)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// shardsOf asks a host's shards of the file.
func (d *demo) shardsOf(ctx context.Context, account string) (held, of int, err error) {
	health, err := d.client.Health(ctx, bucket, key)
	if err != nil {
		return 0, 0, err
	}
	for _, slab := range health.Slabs {
		for _, sh := range slab.Shards {
			if sh.Host != account {
				continue
			}
			of++
			if sh.State == "held" {
				held++
			}
		}
	}
	return held, of, nil
}
