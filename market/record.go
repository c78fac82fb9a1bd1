package market

import (
	"encoding/binary"

	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
)

// A Record is what one side keeps of one lease: the newest statement, and the
// cumulative figures from which the next one is made.
type Record struct {
	Newest statement.Signed // the zero statement (Seq 0) before the first
	Rent   money.Amount     // the part of Newest.Total that is for time
	quote.Use
	// Agreed is, at the client, the newest statement that the host has signed as
	// well: the host can't go back behind it.
	Agreed statement.Signed
	// Ended says that the host has consented to the lease's end with Refund as all
	// it has earned: nothing is signed any more.
	Ended  bool
	Refund money.Amount
}

func (r Record) encode(lease uint64) []byte {
	ended := uint8(0)
	if r.Ended {
		ended = 1
	}
	return canon.New(recordMajor).Uint64(lease).Blob(r.Newest.Encode()).Blob(r.Agreed.Encode()).
		Uint64(uint64(r.Rent)).Uint64(r.In).Uint64(r.Out).Uint64(r.Gas).Uint8(ended).Uint64(uint64(r.Refund)).Bytes()
}

func decodeRecord(b []byte) (lease uint64, r Record, err error) {
	major := byte(recordMajor)
	if len(b) > 0 && b[0] == beforeGas {
		major = beforeGas
	}
	c := canon.Read(b, major)
	lease = c.Uint64()
	newest, agreed := c.Blob(maxStatement), c.Blob(maxStatement)
	r.Rent, r.In, r.Out = money.Amount(c.Uint64()), c.Uint64(), c.Uint64()
	if major != beforeGas {
		r.Gas = c.Uint64()
	}
	ended := c.Uint8()
	r.Ended, r.Refund = ended == 1, money.Amount(c.Uint64())
	if err := c.Done(); err != nil {
		return 0, Record{}, err
	}
	if ended > 1 {
		return 0, Record{}, fault.New(fault.BadFrame, "a flag of %d", ended)
	}
	if r.Newest, err = statement.Decode(newest); err != nil {
		return 0, Record{}, err
	}
	if r.Agreed, err = statement.Decode(agreed); err != nil {
		return 0, Record{}, err
	}
	return lease, r, nil
}

// gone is the entry of a lease that is forgotten: a major that no record has.
func gone(lease uint64) []byte { return binary.BigEndian.AppendUint64([]byte{goneMajor}, lease) }

const (
	goneMajor    = 0
	beforeGas    = 1 // of records without gas, which are read still
	recordMajor  = 2
	maxStatement = 1024
	maxRecord    = 2*maxStatement + 64
)
