// Package refusal turns faults of core into errors that ABCI reports: code 2 of
// codespace "hearth", with a log that starts with the fault's code and a colon.
// Clients read the code from there. It invents no codes of its own.
package refusal

import (
	"errors"

	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"

	"hearth/core/fault"
)

// What every refusal carries in a transaction's result. It is one number for
// all, because results are part of the block's hash and texts are not.
const (
	Codespace        = "hearth"
	ABCICode  uint32 = 2
)

// An Error is a fault as the ledger reports it.
type Error struct{ err error }

func (e *Error) Error() string { return string(fault.CodeOf(e.err)) + ": " + e.err.Error() }

// Unwrap gives the fault.
func (e *Error) Unwrap() error { return e.err }

// Codespace and ABCICode are what the SDK asks an error for.
func (e *Error) Codespace() string { return Codespace }

// ABCICode is the same for every refusal.
func (e *Error) ABCICode() uint32 { return ABCICode }

// Of returns err as the ledger reports it: faults become refusals, a lack of
// coins becomes no_funds, the SDK's own errors stay.
func Of(err error) error {
	var f *fault.Error
	var done *Error
	switch {
	case err == nil || errors.As(err, &done):
		return err
	case errors.As(err, &f):
		return &Error{err}
	case errors.Is(err, sdkerrors.ErrInsufficientFunds):
		return &Error{fault.New(fault.NoFunds, "%w", err)}
	}
	return err
}

// In is for deferring: it replaces *err by what Of makes of it.
func In(err *error) { *err = Of(*err) }
