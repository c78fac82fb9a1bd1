package chain

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	authv1 "cosmossdk.io/api/cosmos/auth/v1beta1"
	basev1 "cosmossdk.io/api/cosmos/base/v1beta1"
	edv1 "cosmossdk.io/api/cosmos/crypto/ed25519"
	secpv1 "cosmossdk.io/api/cosmos/crypto/secp256k1"
	signingv1 "cosmossdk.io/api/cosmos/tx/signing/v1beta1"
	txv1 "cosmossdk.io/api/cosmos/tx/v1beta1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hearth/core/fault"
)

// A Signer signs transactions of one account. A Signer that also has a method
// FeeGranter() string lets that account pay its fees.
type Signer interface {
	Address() string
	// PublicKey is a key with its algorithm: "secp256k1", 33 bytes, or "ed25519", 32 bytes.
	PublicKey() (algorithm string, key []byte)
	// Sign returns 64 bytes over doc; for secp256k1 r||s over SHA256(doc).
	Sign(doc []byte) ([]byte, error)
}

// PaidBy is s with its fees paid by granter, who must have granted it an allowance.
func PaidBy(s Signer, granter string) Signer { return paidBy{s, granter} }

type paidBy struct {
	Signer
	granter string
}

func (p paidBy) FeeGranter() string { return p.granter }

// A Refusal is the ledger's no to a transaction, with its own words.
type Refusal struct {
	Codespace string
	Code      uint32
	Log       string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%s code %d: %s", r.Codespace, r.Code, r.Log)
}

const maxLog = 2000

// noise is what the SDK adds to a simulation's error: places in its source, and gas.
var noise = regexp.MustCompile(` \[[^\]]*\.go:\d+\]| with gas used: '\d+'`)

// refused gives a refusal the code of its cause. The ledger's own rules put their
// code in front of their text; the SDK wraps that in "failed to ...: index: 0: ".
func refused(codespace string, code uint32, log string) error {
	if len(log) > maxLog {
		log = log[:maxLog]
	}
	log = noise.ReplaceAllString(log, "")
	r := &Refusal{codespace, code, log}
	for part := range strings.SplitSeq(log, ": ") {
		word := fault.Code(part)
		if _, ok := fault.Lookup(word); ok && word != fault.Internal {
			return fault.New(word, "the ledger refused it: %w", r)
		}
	}
	// The SDK's own word; a simulation keeps only its text.
	if codespace == "sdk" && code == 5 || strings.Contains(log, ": insufficient funds") {
		return fault.New(fault.NoFunds, "the ledger refused it: %w", r)
	}
	return fault.New(fault.TxRefused, "the ledger refused it: %w", r)
}

// nonces hands out the nanoseconds that tell one account's transactions apart.
type nonces struct {
	mu   sync.Mutex
	last map[string]int64
}

// next is at or shortly after t, and later than all before for that account. A
// random part keeps two machines with one key apart.
func (n *nonces) next(address string, t time.Time) time.Time {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	at := t.UnixNano() + int64(binary.BigEndian.Uint64(b[:])%uint64(time.Second))
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last == nil {
		n.last = make(map[string]int64)
	}
	at = max(at, n.last[address]+1)
	n.last[address] = at
	return time.Unix(0, at).UTC()
}

// A party is one signer as a transaction needs it.
type party struct {
	Signer
	number uint64
	key    *anypb.Any
}

// parties looks up account numbers. They are one node's word; a wrong one only
// spoils the signature.
func (c *Client) parties(ctx context.Context, signers []Signer) ([]party, error) {
	out := make([]party, 0, len(signers))
	for _, s := range signers {
		p := party{Signer: s}
		algorithm, key := s.PublicKey()
		var err error
		switch {
		case algorithm == "secp256k1" && len(key) == 33:
			p.key, err = pack(&secpv1.PubKey{Key: key})
		case algorithm == "ed25519" && len(key) == 32:
			p.key, err = pack(&edv1.PubKey{Key: key})
		default:
			err = fmt.Errorf("a %s key of %d bytes can't sign transactions", algorithm, len(key))
		}
		if err != nil {
			return nil, err
		}
		if n, ok := c.accounts.Load(s.Address()); ok {
			p.number = n.(uint64)
		} else if p.number, err = c.accountNumber(ctx, s.Address()); fault.CodeOf(err) == fault.UnknownIdentity {
			return nil, fault.New(fault.NoFunds, "account %s: it has never held any ember", s.Address())
		} else if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func (c *Client) accountNumber(ctx context.Context, address string) (uint64, error) {
	var res authv1.QueryAccountInfoResponse
	err := c.ask(ctx, "look up account "+address, func(n *node) error {
		_, err := n.list(ctx, "/cosmos.auth.v1beta1.Query/AccountInfo", 0, &authv1.QueryAccountInfoRequest{Address: address}, &res)
		var no *Refusal
		if errors.As(err, &no) && strings.Contains(no.Log, "not found") {
			return fault.New(fault.UnknownIdentity, "the ledger doesn't know it: %w", no)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	number := res.GetInfo().GetAccountNumber()
	c.accounts.Store(address, number)
	return number, nil
}

// Known says whether the ledger knows an account: by one node's word, unless it
// has a balance, which is proved.
func (c *Client) Known(ctx context.Context, address string) (bool, error) {
	_, err := c.accountNumber(ctx, address)
	if fault.CodeOf(err) != fault.UnknownIdentity {
		return err == nil, err
	}
	held, err := c.Balance(ctx, address)
	return held > 0, err
}

// envelope builds the body all signatures cover: unordered, dead after a time.
func envelope(msgs []proto.Message, dies time.Time) ([]byte, error) {
	body := &txv1.TxBody{Unordered: true, TimeoutTimestamp: timestamppb.New(dies)}
	for _, m := range msgs {
		packed, err := pack(m)
		if err != nil {
			return nil, err
		}
		body.Messages = append(body.Messages, packed)
	}
	return proto.Marshal(body)
}

// encode completes a transaction (SIGN_MODE_DIRECT). Without sign it carries
// signatures of the usual size, which is what a simulation needs.
func (c *Client) encode(body []byte, parties []party, gas uint64, sign bool) ([]byte, error) {
	fee := &txv1.Fee{GasLimit: gas, Amount: []*basev1.Coin{{Denom: Denom, Amount: strconv.FormatUint(c.fee(gas), 10)}}}
	if g, ok := parties[0].Signer.(interface{ FeeGranter() string }); ok {
		fee.Granter = g.FeeGranter()
	}
	auth := &txv1.AuthInfo{Fee: fee}
	for _, p := range parties {
		auth.SignerInfos = append(auth.SignerInfos, &txv1.SignerInfo{
			PublicKey: p.key,
			ModeInfo:  &txv1.ModeInfo{Sum: &txv1.ModeInfo_Single_{Single: &txv1.ModeInfo_Single{Mode: signingv1.SignMode_SIGN_MODE_DIRECT}}},
		})
	}
	authBytes, err := proto.Marshal(auth)
	if err != nil {
		return nil, err
	}
	raw := &txv1.TxRaw{BodyBytes: body, AuthInfoBytes: authBytes}
	for _, p := range parties {
		signature := make([]byte, 64)
		if sign {
			doc, err := proto.Marshal(&txv1.SignDoc{BodyBytes: body, AuthInfoBytes: authBytes, ChainId: c.ChainID(), AccountNumber: p.number})
			if err != nil {
				return nil, err
			}
			if signature, err = p.Sign(doc); err != nil {
				return nil, fmt.Errorf("sign as %s: %w", p.Address(), err)
			}
		}
		raw.Signatures = append(raw.Signatures, signature)
	}
	// The ledger insists on ascending field order here (ADR-027).
	return proto.MarshalOptions{Deterministic: true}.Marshal(raw)
}

// fee is what gas costs, rounded up.
func (c *Client) fee(gas uint64) uint64 { return (gas*c.c.GasPrice + 999_999) / 1_000_000 }

// pack wraps m the way the SDK expects: anypb.New would put "type.googleapis.com"
// before the slash, which the SDK does not resolve.
func pack(m proto.Message) (*anypb.Any, error) {
	value, err := proto.Marshal(m)
	return &anypb.Any{TypeUrl: "/" + string(m.ProtoReflect().Descriptor().FullName()), Value: value}, err
}
