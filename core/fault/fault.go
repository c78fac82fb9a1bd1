// Package fault gives errors that reach a person or a peer a stable code. One
// registry says for each code what causes it, what to do next, and which exit
// status and HTTP status it has. Errors that stay inside a package don't need it.
package fault

import (
	"errors"
	"fmt"
)

// A Code is a stable snake_case word, the same on the wire, in JSON and on the
// command line.
type Code string

// An Error carries a code with its cause.
type Error struct {
	Code Code
	Err  error
}

// Error is the cause's text: the code is shown apart by whoever prints it.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes two errors of the same code match in errors.Is, whatever their text.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// New is fmt.Errorf with a code; %w wraps as usual.
func New(code Code, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// CodeOf is the outermost code in err's chain, Internal when it has none, and
// "" when err is nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}
