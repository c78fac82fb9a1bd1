package door

import (
	"errors"
	"fmt"
	"net/http"

	"hearth/core/fault"
)

// HeaderCode carries the code of a request that no function has answered.
const HeaderCode = "Hearth-Fault"

// refused is an error with a status of its own.
type refused struct {
	status int
	error
}

func (r refused) Unwrap() error { return r.error }

// statusOf is what a client is told of err. What the account's owner has to put right
// is no fault of the client's.
func statusOf(err error) int {
	if r := (refused{}); errors.As(err, &r) {
		return r.status
	}
	switch fault.CodeOf(err) {
	case fault.BadRequest:
		return http.StatusBadRequest
	case fault.NotFound:
		return http.StatusNotFound
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.BadAnswer, fault.NotVerified, fault.SandboxFailed, fault.HostRefused, fault.BadFrame, fault.BadSignature:
		return http.StatusBadGateway
	case fault.Deadline, fault.HostUnreachable:
		return http.StatusGatewayTimeout
	case fault.Busy, fault.Conflict, fault.NoHosts, fault.HostFull, fault.LedgerDown, fault.NoFunds, fault.LeaseLow, fault.CapReached, fault.Unpaid,
		fault.PriceTooHigh, fault.MandateRefused:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// refusal is the answer to a request that no function has answered. Of this node and
// its account it says no more than the code does.
func refusal(name string, err error) answer {
	status, code := statusOf(err), fault.CodeOf(err)
	text := fault.Brief(err.Error())
	switch code {
	case fault.BadAnswer, fault.OutOfGas, fault.Trapped, fault.FunctionFailed, fault.Deadline, fault.Busy, fault.TooLarge:
	default:
		if entry, known := fault.Lookup(code); known && status >= http.StatusInternalServerError {
			text = entry.Cause
		}
	}
	a := answer{status: status, header: http.Header{
		"Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"}, HeaderCode: {string(code)},
	}}
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		a.header.Set("Retry-After", "1")
	}
	a.body = fmt.Appendf(nil, "%d %s\nfunction %q: %s\ncode: %s\n", status, http.StatusText(status), fault.Brief(cut(name)), text, code)
	return a
}
