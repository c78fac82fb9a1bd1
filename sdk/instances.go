package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"hearth/api"
	"hearth/core/fault"
)

func instancePath(name string) string { return "/v1/instances/" + url.PathEscape(name) }

func number[T int | int64 | uint16 | uint64](n T) string { return strconv.FormatInt(int64(n), 10) }

// Bids asks hosts what they want for a machine.
func (c *Client) Bids(ctx context.Context, m api.Machine) (api.Bids, error) {
	q := url.Values{"cpu": {number(m.CPU)}, "memory": {number(m.Memory)}, "disk": {number(m.Disk)}}
	return get[api.Bids](ctx, c, "/v1/bids?"+q.Encode())
}

// startTime is how long a host may take over an image that it has to fetch first.
const startTime = 15 * time.Minute

// CreateInstance reserves a machine and runs an image on it.
func (c *Client) CreateInstance(ctx context.Context, w api.InstanceWish) (out api.Instance, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	err = c.exchange(ctx, http.MethodPost, "/v1/instances", w, &out)
	return out, err
}

// StartInstance runs what is reserved and doesn't run; what is suspended goes on.
func (c *Client) StartInstance(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	return c.exchange(ctx, http.MethodPost, instancePath(name)+"/start", nil, nil)
}

// Instances lists the account's instances by name, and how they stand.
func (c *Client) Instances(ctx context.Context) (api.Instances, error) {
	return get[api.Instances](ctx, c, "/v1/instances")
}

// Stats measures over so long what instances use: those that are named, or all.
func (c *Client) Stats(ctx context.Context, over time.Duration, names ...string) (api.Stats, error) {
	q := url.Values{"over": {number(over.Milliseconds())}, "name": names}
	return get[api.Stats](ctx, c, "/v1/stats?"+q.Encode())
}

// SuspendInstance has all that an instance is written down, sealed, and ends it:
// StartInstance goes on from there. Its machine stays reserved.
func (c *Client) SuspendInstance(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	return c.exchange(ctx, http.MethodPost, instancePath(name)+"/suspend", nil, nil)
}

// StopInstance ends an instance, after grace; its machine stays reserved.
func (c *Client) StopInstance(ctx context.Context, name string, grace time.Duration) error {
	return c.call(ctx, http.MethodPost, instancePath(name)+"/stop?grace="+number(int64(grace/time.Second)), nil, nil)
}

// RemoveInstance ends an instance, after grace, and what is paid for it.
func (c *Client) RemoveInstance(ctx context.Context, name string, grace time.Duration) error {
	return c.call(ctx, http.MethodDelete, instancePath(name)+"?grace="+number(int64(grace/time.Second)), nil, nil)
}

// InstanceLogs writes what an instance has put out: the last tail lines, 0 for all;
// with follow also what comes, until ctx ends or it does.
func (c *Client) InstanceLogs(ctx context.Context, name string, tail int, follow bool, w io.Writer) error {
	r, err := c.do(ctx, http.MethodGet, instancePath(name)+"/logs?tail="+number(tail)+"&follow="+strconv.FormatBool(follow), nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if _, err := io.Copy(w, r.Body); err != nil && ctx.Err() == nil {
		return fault.New(fault.Interrupted, "read the log of %s: %w", name, err)
	}
	return nil
}

// Exec runs a program inside an instance, and gives its exit status. In may be read a
// little further than the program did, and where it fails, the program ends and that is
// the error; sizes are those of its terminal, nil for none.
func (c *Client) Exec(ctx context.Context, name string, p api.Program, in io.Reader, out, errs io.Writer, sizes <-chan api.Size) (int, error) {
	q := url.Values{"arg": p.Args, "env": p.Env, "tty": {strconv.FormatBool(p.TTY)}, "rows": {number(p.Size.Rows)}, "cols": {number(p.Size.Cols)}}
	if p.Dir != "" {
		q.Set("dir", p.Dir)
	}
	if p.User != "" {
		q.Set("user", p.User)
	}
	return c.frames(ctx, instancePath(name)+"/exec?"+q.Encode(), in, out, errs, sizes)
}

// Forward connects a TCP port inside an instance with in and out, until either side
// ends.
func (c *Client) Forward(ctx context.Context, name string, port uint16, in io.Reader, out io.Writer) error {
	_, err := c.frames(ctx, instancePath(name)+"/ports/"+number(port), in, out, out, nil)
	return err
}

// SSH connects with the SSH server of an instance's host, which shows api.Instance's
// HostKey, until either side ends.
func (c *Client) SSH(ctx context.Context, name string, in io.Reader, out io.Writer) error {
	_, err := c.frames(ctx, instancePath(name)+"/ssh", in, out, out, nil)
	return err
}

// frames has a connection changed to frames, and moves them until the node says how
// it ended.
func (c *Client) frames(ctx context.Context, path string, in io.Reader, out, errs io.Writer, sizes <-chan api.Size) (int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, err := c.do(ctx, http.MethodPost, path, nil, "Connection", "Upgrade", "Upgrade", api.Upgrade)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	conn, ok := r.Body.(io.ReadWriteCloser)
	if r.StatusCode != http.StatusSwitchingProtocols || !ok {
		return 0, fault.New(fault.BadFrame, "POST %s: the node doesn't speak %s", path, api.Upgrade)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	up := &uplink{to: conn}
	go func() { // in may block for ever: nobody waits for it
		if err := up.copy(in); err != nil {
			cancel(err)
		}
	}()
	go up.resize(ctx, sizes)
	for {
		kind, b, err := api.ReadFrame(conn)
		if err != nil {
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
			return 0, fault.New(fault.Interrupted, "POST %s: the node has broken off: %w", path, err)
		}
		if len(b) == 0 { // the node asks whether somebody is here
			continue
		}
		switch kind {
		case api.FrameOut:
			_, err = out.Write(b)
		case api.FrameErr:
			_, err = errs.Write(b)
		case api.FrameEnded:
			var e api.Ended
			if err := json.Unmarshal(b, &e); err != nil {
				return 0, fault.New(fault.BadFrame, "POST %s: read how it ended: %w", path, err)
			}
			if e.Code != "" {
				return 0, fault.New(fault.Code(e.Code), "%w", errors.New(e.Reason))
			}
			return e.Exit, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// uplink is what is sent to the node. Several goroutines may.
type uplink struct {
	mu sync.Mutex
	to io.Writer
}

func (u *uplink) send(kind byte, b []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return api.WriteFrame(u.to, kind, b)
}

// copy sends what is read, and its end. What can't be read to its end has none: the
// program would take a part for the whole.
func (u *uplink) copy(in io.Reader) error {
	b := make([]byte, 32<<10)
	for in != nil {
		n, err := in.Read(b)
		if n > 0 && u.send(api.FrameIn, b[:n]) != nil {
			return nil // the node has gone, and the other direction says why
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	_ = u.send(api.FrameIn, nil) // as above
	return nil
}

func (u *uplink) resize(ctx context.Context, sizes <-chan api.Size) {
	for {
		select {
		case <-ctx.Done():
			return
		case s, open := <-sizes:
			if !open {
				return
			}
			b, err := json.Marshal(s)
			if err != nil || u.send(api.FrameSize, b) != nil {
				return
			}
		}
	}
}
