package api

import "time"

// Headers of the answer to a call of a function.
const (
	HeaderExit     = "Hearth-Exit"      // status the function ended with
	HeaderFault    = "Hearth-Fault"     // code of why it didn't end by itself
	HeaderReason   = "Hearth-Reason"    // of that, for people
	HeaderGas      = "Hearth-Gas"       // used
	HeaderHost     = "Hearth-Host"      // that ran it, and has signed the outcome
	HeaderCost     = "Hearth-Cost"      // in ember, rounded up
	HeaderTook     = "Hearth-Took"      // nanoseconds
	HeaderWitness  = "Hearth-Witnesses" // hosts that have signed the outcome, with commas
	HeaderHere     = "Hearth-Here"      // true: the node's machine has computed it too
	HeaderLogBytes = "Hearth-Log-Bytes" // at the end of the body, where the log was asked for
)

// A FunctionWish says how a function is run; what is 0 is as the node has it.
type FunctionWish struct {
	Name     string
	Gas      uint64   // of a call at most
	Memory   int64    // bytes of a call at most
	Deadline int64    // milliseconds of a call at most
	Env      []string // NAME=value
	Store    int64    // bytes that its key-value store may have; 0: as it was, -1: none
}

// A Function is a WebAssembly module under a name, run on hosts.
type Function struct {
	Name     string    `json:"name"`
	Module   string    `json:"module" doc:"SHA-256 of the module, hex"`
	Size     int64     `json:"size" doc:"Bytes of the module"`
	Gas      uint64    `json:"gas" doc:"That one call may use at most"`
	Memory   int64     `json:"memory" doc:"Bytes that one call may have at most"`
	Deadline int64     `json:"deadline" doc:"Milliseconds that one call may take at most"`
	Env      []string  `json:"env" nullable:"false" doc:"NAME=value"`
	Created  time.Time `json:"created"`
	Store    int64     `json:"store" doc:"Bytes that its key-value store may have; 0: it has none"`
	Most     Money     `json:"most" doc:"What the gas of one call costs at most, at the ceiling"`
}

// Functions are those of the account.
type Functions struct {
	Functions []Function `json:"functions" nullable:"false"`
}

// A FunctionStore is a page of what a function keeps from one call to the next.
type FunctionStore struct {
	Size int64         `json:"size" doc:"Bytes of all keys and values, and 8 for each"`
	Most int64         `json:"most" doc:"Bytes that it may have"`
	Keys []FunctionKey `json:"keys" nullable:"false"`
	Next string        `json:"next,omitempty" doc:"Give it as 'after' for the next page; absent: this was the last"`
}

// A FunctionKey is a key of a function's store.
type FunctionKey struct {
	Key  string `json:"key"`
	Size int64  `json:"size" doc:"Bytes of its value"`
}

// FunctionStorePage is how many keys a page has at most.
const FunctionStorePage = 1000

// A CallWish is what somebody wants of one call.
type CallWish struct {
	Args   []string // behind the function's name
	Env    []string // NAME=value, after the function's own
	Input  []byte
	Verify int // on how many other hosts the outcome is checked, where it is
}

// A Liar is a host that has signed a wrong outcome of a call. This node hires it no
// more.
type Liar struct {
	Host     string    `json:"host"`
	At       time.Time `json:"at"`
	Function string    `json:"function"`
	Call     string    `json:"call" doc:"Digest of the call, hex"`
	Signed   string    `json:"signed" doc:"What it has signed"`
	Right    string    `json:"right" doc:"What came out on this machine"`
}

// Liars are those that this node has found.
type Liars struct {
	Liars []Liar `json:"liars" nullable:"false"`
}

// A Called is what became of a call.
type Called struct {
	Exit      uint32   `json:"exit"`
	Fault     string   `json:"fault,omitempty" doc:"A code: why the function didn't end by itself"`
	Reason    string   `json:"reason,omitempty"`
	Gas       uint64   `json:"gas"`
	Host      string   `json:"host"`
	Cost      Money    `json:"cost"`
	Took      int64    `json:"took" doc:"Nanoseconds"`
	Witnesses []string `json:"witnesses" nullable:"false" doc:"Hosts that have signed this outcome"`
	Here      bool     `json:"here" doc:"The node's machine has computed it too"`
	Output    []byte   `json:"output"`
	Log       []byte   `json:"log,omitempty"`
}

// A Mapped says how far a function has been run over many inputs.
type Mapped struct {
	Total   int          `json:"total"`
	Done    int          `json:"done"`
	Checked int          `json:"checked" doc:"On other hosts, or on the node's machine"`
	Redone  int          `json:"redone" doc:"Because a liar had computed them"`
	Gas     uint64       `json:"gas"`
	Cost    Money        `json:"cost"`
	Liars   []string     `json:"liars" nullable:"false" doc:"Hosts that were found to sign wrong outcomes meanwhile"`
	Failed  []MapFailure `json:"failed" nullable:"false" doc:"Inputs on which the function failed"`
}

// A MapFailure is an input on which the function failed.
type MapFailure struct {
	Name   string `json:"name"`
	Exit   uint32 `json:"exit"`
	Fault  string `json:"fault,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// A FunctionDoor is where the account's functions answer HTTP requests.
type FunctionDoor struct {
	Open     bool    `json:"open"`
	Endpoint string  `json:"endpoint" doc:"URL that functions' names are appended to; empty where it isn't open"`
	Rate     float64 `json:"rate" doc:"Requests a second of one function that are answered"`
	Problem  string  `json:"problem,omitempty" doc:"Why the door isn't open though the settings say so"`
}

// FunctionsAt is where functions answer when nobody says where.
const FunctionsAt = "127.0.0.1:9479"

// FunctionListen says where functions answer HTTP requests.
type FunctionListen struct {
	Listen string `json:"listen" example:"127.0.0.1:9479"`
}
