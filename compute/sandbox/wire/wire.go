// Package wire is what the engine of containers and the keeper of one instance
// say to each other. They are two builds that may differ in age, since an
// instance outlives the node that started it: fields are only ever added.
//
// The engine hands the keeper a Launch on its standard input and reads one
// Reply. Afterwards it dials the socket in the instance's folder: one
// connection is one Request and one Reply, each a frame; some requests turn
// the rest of the connection into a stream (see the operations).
package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// The files in the folder of an instance.
const (
	StateFile = "state.json" // a State, replaced as a whole
	LockFile  = "lock"       // locked as long as the keeper lives
	Socket    = "control"    // where the keeper answers
	LogFolder = "log"        // what the instance wrote, see package logfile
	KeeperLog = "keeper.log" // what the keeper itself has to say
	Private   = "private"    // where the keeper mounts what never touches a disk
	Disk      = "disk"       // where the instance's writes go, in a file without a name

	Checkpoint = "checkpoint" // all of a suspended instance, sealed
	Unfinished = ".new"       // after a name: it isn't whole
)

// Operations of a Request.
const (
	OpState  = "state"
	OpStats  = "stats"
	OpStop   = "stop"   // the reply comes when the instance has ended
	OpWait   = "wait"   // the same, without asking it to
	OpPause  = "pause"  //
	OpResume = "resume" //
	OpExec   = "exec"   // then frames both ways, until FrameExit
	OpDial   = "dial"   // then the bytes of the connection

	OpCheckpoint = "checkpoint" // the reply comes when it is written and the instance has ended
)

// Kinds of frames.
const (
	FrameMessage byte = iota + 1 // JSON: a Launch, Request or Reply
	FrameIn                      // to the keeper: standard input
	FrameInEnd                   // to the keeper: its end
	FrameResize                  // to the keeper: rows and columns, two uint16
	FrameOut                     // from the keeper: standard output, or all of a terminal
	FrameErr                     // from the keeper: standard error
	FrameExit                    // from the keeper: the exit status, an int32; the last frame
)

// Limits of frames.
const (
	MaxMessage = 8 << 20  // a Launch carries the secrets
	MaxChunk   = 64 << 10 // of a stream
)

// Egress says what an instance may reach.
type Egress string

// The three policies.
const (
	EgressNone  Egress = ""      // nothing, not even names
	EgressAllow Egress = "allow" // what is listed
	EgressOpen  Egress = "open"  // the public Internet without mail
)

// A Mount shows a folder or file of the host inside the instance.
type Mount struct {
	Source   string // absolute
	Target   string // absolute, inside
	ReadOnly bool
}

// A Spec is what an instance is to be. A zero field takes its stated default.
type Spec struct {
	Rootfs   string // absolute; read only, shared by any number of instances
	Args     []string
	Env      []string // PATH is set when it isn't named
	Dir      string   // default /
	UID, GID uint32
	Groups   []uint32
	Hostname string   // default the id
	Caps     []string // nil: a modest list for uid 0; names as CAP_CHOWN
	Mounts   []Mount

	CPU    uint64 // thousandths of a CPU; 0: no limit
	Memory uint64 // bytes; default 256 MiB
	Disk   uint64 // bytes that may be written; default 1 GiB
	Pids   uint32 // processes and threads; default 256

	Egress Egress
	Allow  []string // names, *.names, addresses, prefixes
	Rate   uint64   // bytes a second each way; 0: no limit

	Secrets map[string][]byte // files of /run/secrets; never on a disk
}

// A Launch is what a keeper is started with.
type Launch struct {
	ID      string
	Spec    Spec
	Group   string   `json:",omitempty"` // control group of the host; default hearth
	Restore *Restore `json:",omitempty"` // nil: it begins
}

// Restore has an instance go on from the checkpoint in its folder. Its secrets are
// those of the checkpoint. A keeper that knows of it says so in its State.
type Restore struct {
	Key []byte // that it was sealed with
}

// Phases of an instance.
const (
	Running = "running"
	Paused  = "paused"
	Ended   = "ended"
	// Unreachable: its keeper lives and doesn't answer. It may be running.
	Unreachable = "unreachable"
)

// Reasons why an instance has ended.
const (
	Exited      = "exited"        // by itself; Exit says how
	Killed      = "killed"        // by a signal; Exit is 128 + its number
	Stopped     = "stopped"       // it was asked to
	OutOfMemory = "out of memory" //
	TooMany     = "too many processes"
	// Checkpointed: it was suspended, and what it was lies in its folder.
	Checkpointed = "suspended"
	Lost         = "lost" // its keeper is gone, by a restart of the machine for one
)

// A State is what is known of an instance.
type State struct {
	ID      string
	Phase   string
	Reason  string `json:",omitempty"` // of its end
	Exit    int    // exit status, once ended
	Keeper  int    // process id
	Started time.Time
	Ended   time.Time // zero while it runs
	Cgroup  string    // "v1", "v2", or "" when limits are kept without

	Restored bool `json:",omitempty"` // it went on from a checkpoint when it started
}

// Usage is what an instance has used.
type Usage struct {
	CPU           time.Duration // since its start
	Memory        uint64        // bytes now
	Pids          uint64
	NetIn, NetOut uint64 // bytes since its start, as the instance sees them
}

// An Exec is a further process in an instance.
type Exec struct {
	Args, Env  []string // Env is added to the instance's
	Dir        string   // default the instance's
	UID, GID   *uint32  // default the instance's
	TTY        bool
	Rows, Cols uint16
}

// A Request asks a keeper for something.
type Request struct {
	Op    string
	Exec  *Exec         `json:",omitempty"`
	Port  uint16        `json:",omitempty"`
	Grace time.Duration `json:",omitempty"`
	Key   []byte        `json:",omitempty"` // to seal a checkpoint with
}

// A Reply answers it. Code is one of core/fault when Error is set.
type Reply struct {
	Code  string `json:",omitempty"`
	Error string `json:",omitempty"`
	State *State `json:",omitempty"`
	Usage *Usage `json:",omitempty"`
}

// ErrFrame says that what came is no frame.
var ErrFrame = errors.New("not a frame")

const header = 5 // kind, length

// WriteFrame writes a frame with a single Write.
func WriteFrame(w io.Writer, kind byte, body []byte) error {
	b := make([]byte, header, header+len(body))
	b[0] = kind
	binary.BigEndian.PutUint32(b[1:], uint32(len(body)))
	_, err := w.Write(append(b, body...))
	return err
}

// ReadFrame reads a frame whose body has at most limit bytes, into room if that
// is enough.
func ReadFrame(r io.Reader, room []byte, limit int) (kind byte, body []byte, err error) {
	var h [header]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(h[1:])
	if uint64(n) > uint64(limit) {
		return 0, nil, fmt.Errorf("%w: %d bytes, limit %d", ErrFrame, n, limit)
	}
	if cap(room) < int(n) {
		room = make([]byte, n)
	}
	body = room[:n]
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, noEOF(err)
	}
	return h[0], body, nil
}

// WriteMessage writes m as JSON.
func WriteMessage(w io.Writer, m any) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return WriteFrame(w, FrameMessage, b)
}

// ReadMessage reads what WriteMessage wrote.
func ReadMessage(r io.Reader, m any) error {
	kind, body, err := ReadFrame(r, nil, MaxMessage)
	if err != nil {
		return err
	}
	if kind != FrameMessage {
		return fmt.Errorf("%w: kind %d instead of a message", ErrFrame, kind)
	}
	if err := json.Unmarshal(body, m); err != nil {
		return fmt.Errorf("%w: %w", ErrFrame, err)
	}
	return nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
