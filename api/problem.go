package api

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"hearth/core/fault"
)

// A Problem is an error as it goes over the API (RFC 9457). Code is what
// programs should look at: it is stable, and docs/errors.md lists it.
type Problem struct {
	Type   string   `json:"type" doc:"Where the code is explained" example:"urn:hearth:error:no_funds"`
	Title  string   `json:"title" doc:"What the code means"`
	Status int      `json:"status" doc:"HTTP status"`
	Detail string   `json:"detail" doc:"What was being done, to what, and why it went wrong"`
	Code   string   `json:"code" doc:"Stable snake_case word"`
	Exit   int      `json:"exit" doc:"Exit status of the command line for it"`
	Remedy string   `json:"remedy" doc:"What to do next"`
	Errors []Detail `json:"errors,omitempty" nullable:"false" doc:"The parts of a request that are wrong"`
}

// A Detail is one wrong part of a request.
type Detail struct {
	Location string `json:"location" example:"body.amount"`
	Message  string `json:"message"`
}

// ProblemOf puts an error into the shape of the API; nil stays nil.
func ProblemOf(err error) *Problem {
	if err == nil {
		return nil
	}
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	code := fault.CodeOf(err)
	entry, known := fault.Lookup(code)
	if !known {
		entry, _ = fault.Lookup(fault.Internal)
	}
	return &Problem{
		Type:   "urn:hearth:error:" + string(entry.Code),
		Title:  entry.Cause,
		Status: entry.HTTP,
		Detail: err.Error(),
		Code:   string(entry.Code),
		Exit:   entry.Exit,
		Remedy: entry.Remedy,
	}
}

// Error is what happened; the rest of the problem is for whoever prints it.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status it is served with.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is the media type it is served with.
func (p *Problem) ContentType(string) string { return ProblemType }

// Fault is the problem as an error with its code. A code this build doesn't
// know, or none, is internal.
func (p *Problem) Fault() error {
	code := fault.Code(p.Code)
	if _, known := fault.Lookup(code); !known {
		code = fault.Internal
	}
	text := p.Detail
	for _, d := range p.Errors {
		text += "; " + d.Location + ": " + d.Message
	}
	if text == "" {
		text = http.StatusText(p.Status)
	}
	return fault.New(code, "%s", text)
}

// ReadProblem reads the error of an answer that is no success.
func ReadProblem(r *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxSpend))
	if err != nil {
		return fault.New(fault.Internal, "read answer %s: %w", r.Status, err)
	}
	var p Problem
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		return fault.New(fault.Internal, "%s %s: %s", r.Request.Method, r.Request.URL.Path, r.Status)
	}
	return p.Fault()
}
