package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"hearth/api"
	"hearth/node"
	"hearth/test/bench/proc"
)

// flushed is how long the list of files may take to be with hosts.
const flushed = 5 * time.Minute

// restore brings the list of files back on an empty machine, from the recovery
// sheet alone, and counts what came.
func (b *bench) restore(ctx context.Context) error {
	if err := b.flush(ctx); err != nil {
		return err
	}
	id, err := node.OpenIdentity(b.cloud.Client.Dir, nil)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "hearth-bench-restored-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(ctx, b.hearth, "--dir", filepath.Join(dir, "node"), "restore", "--network", b.cloud.Network.String(), "--phrase-file", "-", "--json")
	cmd.Stdin, cmd.Stderr = strings.NewReader(id.Phrase.Reveal()), os.Stderr
	began := time.Now()
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("restore the list of files: %w", err)
	}
	took := time.Since(began)
	var got struct {
		Objects int `json:"objects"`
		Logs    []struct {
			Bytes int64 `json:"bytes"`
		} `json:"logs"`
	}
	if err := json.Unmarshal(out, &got); err != nil {
		return fmt.Errorf("restore the list of files: %w", err)
	}
	if got.Objects < b.objects || len(got.Logs) != 1 {
		return fmt.Errorf("restored %d objects of at least %d, from %d logs: %w", got.Objects, b.objects, len(got.Logs), errOther)
	}
	info, err := os.Stat(filepath.Join(dir, "node", "data", "index.db"))
	if err != nil {
		return err
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage) // it is that on every Unix
	say("restore of the list of files from words alone: %d objects in %.1f s, %.1f CPU s; %.1f MB at hosts, %.1f MB on the disk; most memory %.0f MB", got.Objects, took.Seconds(),
		(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), float64(got.Logs[0].Bytes)/1e6, float64(info.Size())/1e6, float64(usage.Maxrss)*1024/1e6)
	b.memory("it all")
	return nil
}

// flush waits until hosts have every change of the list of files.
func (b *bench) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, flushed, errors.New("the hosts don't have the list of files yet"))
	defer cancel()
	for {
		figures, err := proc.Fetch(ctx, api.Socket(b.cloud.Client.Dir), "/metrics")
		if err == nil && strings.Contains(string(figures), "\nhearth_index_log_unflushed_changes 0\n") {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(500 * time.Millisecond):
		}
	}
}
