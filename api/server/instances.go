package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"hearth/api"
	"hearth/core/fault"
)

// Instances rents machines at hosts for the account's instances.
type Instances interface {
	Bids(ctx context.Context, m api.Machine) (api.Bids, error)
	Create(ctx context.Context, w api.InstanceWish) (api.Instance, error)
	Instances(ctx context.Context) (api.Instances, error)
	Start(ctx context.Context, name string) error
	Stop(ctx context.Context, name string, grace time.Duration) error // it stays reserved
	// Suspend ends an instance so that Start goes on where it was.
	Suspend(ctx context.Context, name string) error
	Remove(ctx context.Context, name string, grace time.Duration) error
	Logs(ctx context.Context, name string, tail int, follow bool, w io.Writer) error
	// Exec gives the exit status of a program inside an instance.
	Exec(ctx context.Context, name string, p api.Program, in io.Reader, out, err io.Writer, sizes <-chan api.Size) (int, error)
	// Forward connects a TCP port inside an instance, until either side ends.
	Forward(ctx context.Context, name string, port uint16, in io.Reader, out io.Writer) error
	// SSH connects with the SSH server of an instance's host, until either side ends.
	SSH(ctx context.Context, name string, in io.Reader, out io.Writer) error
}

type instanceName struct {
	Name string `path:"name" maxLength:"63"`
}

type bidsInput struct {
	CPU    uint64 `query:"cpu" minimum:"1" maximum:"1048576" default:"1000" doc:"Thousandths of a core"`
	Memory uint64 `query:"memory" default:"1073741824" doc:"Bytes"`
	Disk   uint64 `query:"disk" default:"1073741824" doc:"Bytes"`
}

type endInstanceInput struct {
	Name  string `path:"name" maxLength:"63"`
	Grace int64  `query:"grace" minimum:"0" maximum:"60" default:"10" doc:"Seconds that it has to end by itself"`
}

type instanceLogsInput struct {
	Name   string `path:"name" maxLength:"63"`
	Tail   int    `query:"tail" minimum:"0" maximum:"1000000" doc:"Lines from the end; 0: all that its host keeps"`
	Follow bool   `query:"follow" doc:"And what comes, until it ends"`
}

type execInput struct {
	Name string   `path:"name" maxLength:"63"`
	Args []string `query:"arg,explode" doc:"The program and its arguments"`
	Env  []string `query:"env,explode" doc:"NAME=value"`
	Dir  string   `query:"dir" maxLength:"256"`
	User string   `query:"user" maxLength:"256"`
	TTY  bool     `query:"tty" doc:"On a terminal"`
	Rows uint16   `query:"rows"`
	Cols uint16   `query:"cols"`
}

type forwardInput struct {
	Name string `path:"name" maxLength:"63"`
	Port uint16 `path:"port" minimum:"1"`
}

func (s *Server) instances() (Instances, error) {
	if s.c.Roles.Instances == nil {
		return nil, fault.New(fault.BadRequest, "this node has no client role, so it has no instances")
	}
	return s.c.Roles.Instances, nil
}

func (s *Server) instanceRoutes() {
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"instances"}}
	}
	route(s, op("bids", http.MethodGet, "/v1/bids", "What hosts ask for a machine, and why those that can't be had can't"),
		func(ctx context.Context, in *bidsInput) (*body[api.Bids], error) {
			r, err := s.instances()
			if err != nil {
				return nil, err
			}
			return answerWith(r.Bids(ctx, api.Machine{CPU: in.CPU, Memory: in.Memory, Disk: in.Disk}))
		})
	route(s, op("instances", http.MethodGet, "/v1/instances", "Every instance of the account and how it stands"),
		func(ctx context.Context, _ *none) (*body[api.Instances], error) {
			r, err := s.instances()
			if err != nil {
				return nil, err
			}
			return answerWith(r.Instances(ctx))
		})
	s.statsRoute(op("instance-stats", http.MethodGet, "/v1/stats", "What instances use at this time"))
	create := op("create-instance", http.MethodPost, "/v1/instances", "Reserve a machine at a host and run an image on it")
	create.MaxBodyBytes = api.MaxWish
	route(s, create,
		func(ctx context.Context, in *body[api.InstanceWish]) (*body[api.Instance], error) {
			r, err := s.instances()
			if err != nil {
				return nil, err
			}
			return answerWith(r.Create(ctx, in.Body))
		})
	start := op("start-instance", http.MethodPost, "/v1/instances/{name}/start", "Run an instance that is reserved and doesn't run: one that is suspended goes on where it was, of another what it had written is gone")
	start.DefaultStatus = http.StatusNoContent
	route(s, start, func(ctx context.Context, in *instanceName) (*none, error) {
		r, err := s.instances()
		if err != nil {
			return nil, err
		}
		return &none{}, r.Start(ctx, in.Name)
	})
	s.suspendRoute(op("suspend-instance", http.MethodPost, "/v1/instances/{name}/suspend", "Have a host write down all that an instance is, sealed, and end it; its machine stays reserved, and is paid for"))
	stop := op("stop-instance", http.MethodPost, "/v1/instances/{name}/stop", "End an instance; its machine stays reserved, and is paid for")
	stop.DefaultStatus = http.StatusNoContent
	route(s, stop, func(ctx context.Context, in *endInstanceInput) (*none, error) {
		r, err := s.instances()
		if err != nil {
			return nil, err
		}
		return &none{}, r.Stop(ctx, in.Name, time.Duration(in.Grace)*time.Second)
	})
	remove := op("remove-instance", http.MethodDelete, "/v1/instances/{name}", "End an instance and what is paid for it; what it has written is lost")
	remove.DefaultStatus = http.StatusNoContent
	route(s, remove, func(ctx context.Context, in *endInstanceInput) (*none, error) {
		r, err := s.instances()
		if err != nil {
			return nil, err
		}
		return &none{}, r.Remove(ctx, in.Name, time.Duration(in.Grace)*time.Second)
	})
	s.instanceStreams(op)
}

// instanceStreams are what flows to and from an instance.
func (s *Server) instanceStreams(op func(id, method, path, summary string) huma.Operation) {
	logs := op("instance-logs", http.MethodGet, "/v1/instances/{name}/logs", "What an instance has put out, as its host keeps it")
	logs.Responses = map[string]*huma.Response{"200": {Description: "The log", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}}}
	route(s, logs, func(_ context.Context, in *instanceLogsInput) (*huma.StreamResponse, error) {
		r, err := s.instances()
		if err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) { sendLogs(hc, r, in) }}, nil
	})
	upgraded := func(o huma.Operation) huma.Operation {
		o.Description = "The connection changes to " + api.Upgrade + " (`Connection: Upgrade`): frames of a kind (1 input, 2 a terminal's size, 3 output, 4 errors, 5 the end), a 4-byte big-endian length and so many bytes. An empty frame of input is its end; one of errors says nothing."
		o.Responses = map[string]*huma.Response{"101": {Description: "Frames in both directions"}}
		return o
	}
	route(s, upgraded(op("exec-instance", http.MethodPost, "/v1/instances/{name}/exec", "Run a program inside an instance")),
		func(_ context.Context, in *execInput) (*huma.StreamResponse, error) {
			r, err := s.instances()
			if err != nil {
				return nil, err
			}
			return s.upgrade(func(ctx context.Context, l *line) (int, error) {
				return r.Exec(ctx, in.Name, api.Program{
					Args: in.Args, Env: in.Env, Dir: in.Dir, User: in.User, TTY: in.TTY, Size: api.Size{Rows: in.Rows, Cols: in.Cols},
				}, l.in, framed{l, api.FrameOut}, framed{l, api.FrameErr}, l.sizes)
			}), nil
		})
	route(s, upgraded(op("forward-instance", http.MethodPost, "/v1/instances/{name}/ports/{port}", "Connect to a TCP port inside an instance")),
		func(_ context.Context, in *forwardInput) (*huma.StreamResponse, error) {
			r, err := s.instances()
			if err != nil {
				return nil, err
			}
			return s.upgrade(func(ctx context.Context, l *line) (int, error) {
				return 0, r.Forward(ctx, in.Name, in.Port, l.in, framed{l, api.FrameOut})
			}), nil
		})
	route(s, upgraded(op("ssh-instance", http.MethodPost, "/v1/instances/{name}/ssh", "Speak SSH with an instance's host, as its user")),
		func(_ context.Context, in *instanceName) (*huma.StreamResponse, error) {
			r, err := s.instances()
			if err != nil {
				return nil, err
			}
			return s.upgrade(func(ctx context.Context, l *line) (int, error) {
				return 0, r.SSH(ctx, in.Name, l.in, framed{l, api.FrameOut})
			}), nil
		})
}

// sendLogs sends a log as it comes. An error before the first byte is a problem;
// after it the connection is cut, so that nobody takes a part for the whole.
func sendLogs(hc huma.Context, r Instances, in *instanceLogsInput) {
	_, w := humago.Unwrap(hc)
	control := http.NewResponseController(w)
	to := &lazy{w: w, to: patient{control: control, writer: flushed{w, control}}, start: func() {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
	}}
	switch err := r.Logs(hc.Context(), in.Name, in.Tail, in.Follow, to); {
	case err == nil || hc.Context().Err() != nil:
		to.begin()
	case !to.begun:
		writeProblem(w, err)
	default:
		panic(http.ErrAbortHandler)
	}
}

// flushed sends each piece at once.
type flushed struct {
	to      io.Writer
	control *http.ResponseController
}

func (f flushed) Write(b []byte) (int, error) {
	n, err := f.to.Write(b)
	if err == nil {
		err = f.control.Flush()
	}
	return n, err
}

// line is a connection that carries frames. Several goroutines may send.
type line struct {
	conn  net.Conn
	mu    sync.Mutex
	in    *io.PipeReader
	sizes chan api.Size
}

func (l *line) send(kind byte, b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.conn.SetWriteDeadline(time.Now().Add(bodyPatience)); err != nil {
		return err
	}
	return api.WriteFrame(l.conn, kind, b)
}

// lineBeat is how often an empty frame is sent, to learn whether the caller is gone
// while a program takes no input and so nobody listens to him.
const lineBeat = 2 * time.Second

func (l *line) beats(ctx context.Context) {
	t := time.NewTicker(lineBeat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if l.send(api.FrameErr, nil) != nil {
				return
			}
		}
	}
}

// framed puts what is written to it into frames of a kind.
type framed struct {
	l    *line
	kind byte
}

func (f framed) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		k := min(len(b), api.MaxFrame)
		if err := f.l.send(f.kind, b[:k]); err != nil {
			return n, err
		}
		n, b = n+k, b[k:]
	}
	return n, nil
}

// upgrade changes the connection to frames and runs work beside what comes in, until
// it ends or the caller is gone.
func (s *Server) upgrade(work func(ctx context.Context, l *line) (int, error)) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		if r.Header.Get("Upgrade") != api.Upgrade {
			writeProblem(w, fault.New(fault.BadRequest, "%s %s: the connection isn't asked to change to %s", r.Method, r.URL.Path, api.Upgrade))
			return
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			writeProblem(w, fault.New(fault.Internal, "%s %s: take the connection over: %w", r.Method, r.URL.Path, err))
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Time{}) // each frame sets its own
		if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+api.Upgrade+"\r\n\r\n"); err != nil {
			return
		}
		serveLine(hc.Context(), conn, buffered.Reader, work)
	}}
}

func serveLine(ctx context.Context, conn net.Conn, from *bufio.Reader, work func(ctx context.Context, l *line) (int, error)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reader, in := io.Pipe()
	l := &line{conn: conn, in: reader, sizes: make(chan api.Size, 1)}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		defer cancel() // the caller is gone
		in.CloseWithError(receive(from, in, l.sizes))
	})
	wg.Go(func() {
		defer cancel() // as above
		l.beats(ctx)
	})
	exit, err := work(ctx, l)
	ended := api.Ended{Exit: exit}
	if err != nil {
		ended.Code, ended.Reason = string(fault.CodeOf(err)), err.Error()
	}
	if b, err := json.Marshal(ended); err == nil {
		_ = l.send(api.FrameEnded, b) // a caller that is gone needs no answer
	}
	reader.Close()
	conn.Close() // ends receive
}

// receive hands on what the caller sends until it is gone: a terminal may be silent
// for hours.
func receive(from *bufio.Reader, in *io.PipeWriter, sizes chan api.Size) error {
	for {
		kind, b, err := api.ReadFrame(from)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // input ends with its empty frame: a part isn't all
			}
			return err
		}
		switch kind {
		case api.FrameIn:
			if len(b) == 0 {
				in.Close()
				continue
			}
			_, _ = in.Write(b) // a program may have stopped reading
		case api.FrameSize:
			var size api.Size
			if json.Unmarshal(b, &size) != nil {
				continue
			}
			select {
			case sizes <- size:
			case <-sizes: // the newest counts
				sizes <- size
			}
		}
	}
}
