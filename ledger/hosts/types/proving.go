package types

import (
	"hearth/core/money"
	"hearth/core/proving"
)

// Core reads what a host has proved.
func (p Proving) Core() proving.Record {
	return proving.Record{
		Proven: p.Proven, From: p.From, Judged: p.Judged, Answered: p.Answered, Missed: p.Missed, Run: int(p.Run), Debt: money.Amount(p.Debt),
	}
}

// FromRecord writes it.
func FromRecord(r proving.Record) Proving {
	return Proving{
		Proven: r.Proven, From: r.From, Judged: r.Judged, Answered: r.Answered, Missed: r.Missed, Run: uint32(r.Run), Debt: uint64(r.Debt),
	}
}
