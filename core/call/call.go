// Package call holds one run of a function in canonical form: what goes in, and
// the outcome that a host signs. A call says everything that the result may
// depend on, time and chance included, so that any two honest hosts give the same
// outcome. It runs nothing, and it can't tell a right outcome from a wrong one:
// that takes a second run.
package call

import (
	"crypto/ed25519"
	"crypto/sha256"
	"strings"
	"unicode/utf8"

	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/store"
)

// Limits of a call and of its outcome.
const (
	MaxInput  = 16 << 20 // bytes
	MaxOutput = 16 << 20
	MaxWords  = 64 << 10 // bytes of arguments and environment together
	MaxCount  = 1024     // of arguments, and of variables
	MaxPages  = 1 << 16  // of memory, 64 KiB each
)

// The majors of both forms: the second has what concerns a store, and calls without
// one keep the first.
const (
	plainMajor        = 1
	storeMajor        = 2
	callLabel         = "hearth/call/1"
	storeCallLabel    = "hearth/call/2"
	outcomeLabel      = "hearth/outcome/1"
	storeOutcomeLabel = "hearth/outcome/2"
)

// A Call is what one run of a function is given.
type Call struct {
	Module    [32]byte // SHA-256 of the module as its author wrote it
	Args      []string // the first is the program's name
	Env       []string // NAME=value
	Input     [32]byte // SHA-256 of the input
	Now       int64    // what its clock says at the start: nanoseconds since 1970
	Seed      [32]byte // of its random numbers
	Gas       uint64   // at most
	Pages     uint32   // of memory at most, 64 KiB each
	MaxOutput uint64   // bytes
	Store     [32]byte // digest of the function's store before the call; zero: it has none
	StoreMax  uint64   // how large the store may become, as core/store counts; 0: it has none
}

// Check refuses what no host takes.
func (c Call) Check() error {
	words := 0
	for _, list := range [][]string{c.Args, c.Env} {
		if len(list) > MaxCount {
			return fault.New(fault.TooLarge, "call function: %d arguments or variables, at most %d are allowed", len(list), MaxCount)
		}
		for _, s := range list {
			if strings.IndexByte(s, 0) >= 0 {
				return fault.New(fault.BadRequest, "call function: an argument or a variable has a zero byte")
			}
			if !utf8.ValidString(s) {
				return fault.New(fault.BadRequest, "call function: an argument or a variable isn't text in UTF-8")
			}
			words += len(s) + 1
		}
	}
	for _, s := range c.Env {
		if name, _, ok := strings.Cut(s, "="); !ok || name == "" {
			return fault.New(fault.BadRequest, "call function: the variable %q isn't NAME=value", s)
		}
	}
	switch {
	case words > MaxWords:
		return fault.New(fault.TooLarge, "call function: %d bytes of arguments and variables, at most %d are allowed", words, MaxWords)
	case c.Gas == 0 || c.Gas > 1<<62:
		return fault.New(fault.BadRequest, "call function: a limit of %d gas", c.Gas)
	case c.Pages == 0 || c.Pages > MaxPages:
		return fault.New(fault.BadRequest, "call function: %d pages of memory, 1 to %d are allowed", c.Pages, MaxPages)
	case c.MaxOutput == 0 || c.MaxOutput > MaxOutput:
		return fault.New(fault.BadRequest, "call function: %d bytes of output, 1 to %d are allowed", c.MaxOutput, MaxOutput)
	case c.StoreMax > store.MaxSize:
		return fault.New(fault.BadRequest, "call function: a store of %d bytes, at most %d are allowed", c.StoreMax, store.MaxSize)
	case (c.StoreMax == 0) != (c.Store == [32]byte{}):
		return fault.New(fault.BadRequest, "call function: a store without room, or room without a store")
	case c.Now < 0:
		return fault.New(fault.BadRequest, "call function: its clock would say %d", c.Now)
	}
	return nil
}

// Digest names the call: SHA-256("hearth/call/1" || canonical bytes), of a call with a
// store "hearth/call/2".
func (c Call) Digest() [32]byte {
	major, label := byte(plainMajor), callLabel
	stateful := c.StoreMax != 0 || c.Store != [32]byte{}
	if stateful {
		major, label = storeMajor, storeCallLabel
	}
	w := canon.New(major).Fixed(c.Module[:])
	for _, list := range [][]string{c.Args, c.Env} {
		w.Uint64(uint64(len(list)))
		for _, s := range list {
			w.String(s)
		}
	}
	w.Fixed(c.Input[:]).Int64(c.Now).Fixed(c.Seed[:]).Uint64(c.Gas).Uint64(uint64(c.Pages)).Uint64(c.MaxOutput)
	if stateful {
		w.Fixed(c.Store[:]).Uint64(c.StoreMax)
	}
	return canon.Digest(label, w.Bytes())
}

// An Outcome is what became of a call, by the word of the host that signs it.
type Outcome struct {
	Exit   uint32
	Gas    uint64     // used
	Output [32]byte   // SHA-256
	Bytes  uint64     // of output
	Fault  fault.Code // why it didn't end by itself; empty: it did
	// Store is the digest of the function's store after the call, zero where it has
	// none, and StoreBytes what its canonical form has; 0: it is as it was.
	Store      [32]byte
	StoreBytes uint64
}

// Good says that the function ended by itself, with status 0. Otherwise its store is
// as it was.
func (o Outcome) Good() bool { return o.Fault == "" && o.Exit == 0 }

// Ended is the outcome of c where it has put out this, and left this store; nil: it is
// as it was.
func (c Call) Ended(exit uint32, gas uint64, f fault.Code, output, changed []byte) Outcome {
	o := Outcome{Exit: exit, Gas: gas, Output: sha256.Sum256(output), Bytes: uint64(len(output)), Fault: f, Store: c.Store}
	if changed != nil {
		o.Store, o.StoreBytes = store.Digest(changed), uint64(len(changed))
	}
	return o
}

// Check says whether o can be the outcome of c.
func (o Outcome) Check(c Call) error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.BadFrame, "outcome of a call: "+format, args...)
	}
	switch {
	case o.Gas > c.Gas:
		return bad("it used %d gas, %d were allowed", o.Gas, c.Gas)
	case o.Bytes > c.MaxOutput:
		return bad("%d bytes of output, %d were allowed", o.Bytes, c.MaxOutput)
	case c.StoreMax == 0 && (o.Store != [32]byte{} || o.StoreBytes != 0):
		return bad("it leaves a store, the function has none")
	case (o.Store == c.Store) != (o.StoreBytes == 0):
		return bad("its store is the same, and has changed")
	case o.Store != c.Store && !o.Good():
		return bad("the function failed, and its store has changed")
	case o.StoreBytes > c.StoreMax+store.Overhead:
		return bad("a store of %d bytes, %d were allowed", o.StoreBytes, c.StoreMax+store.Overhead)
	}
	switch o.Fault {
	case "", fault.OutOfGas, fault.Trapped, fault.TooLarge:
		return nil
	}
	return bad("the fault %q isn't one that a function can have", string(o.Fault))
}

func (o Outcome) digest(chainID string, call [32]byte) [32]byte {
	major, label := byte(plainMajor), outcomeLabel
	stateful := o.Store != [32]byte{} || o.StoreBytes != 0
	if stateful {
		major, label = storeMajor, storeOutcomeLabel
	}
	w := canon.New(major).String(chainID).Fixed(call[:]).Uint64(uint64(o.Exit)).Uint64(o.Gas).Fixed(o.Output[:]).Uint64(o.Bytes).String(string(o.Fault))
	if stateful {
		w.Fixed(o.Store[:]).Uint64(o.StoreBytes)
	}
	return canon.Digest(label, w.Bytes())
}

// Sign signs o as the outcome of the call with this digest, with the host's key.
func (o Outcome) Sign(chainID string, call [32]byte, key ed25519.PrivateKey) []byte {
	d := o.digest(chainID, call)
	return ed25519.Sign(key, d[:])
}

// Verify checks a host's signature.
func (o Outcome) Verify(chainID string, call [32]byte, key ed25519.PublicKey, sig []byte) error {
	d := o.digest(chainID, call)
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, d[:], sig) {
		return fault.New(fault.BadSignature, "outcome of a call: the signature isn't the host's")
	}
	return nil
}
