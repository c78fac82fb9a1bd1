package node

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strconv"
	"sync"
	"time"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/internal/durable"
	"hearth/market"
)

// memory is a window on the ledger that remembers what it has seen proved, across
// restarts: while no ledger node answers, trade under leases that exist goes on by
// it. What moves money is never answered from memory.
type memory struct {
	market.Ledger
	path string
	log  *slog.Logger

	mu    sync.Mutex
	kept  records
	dirty bool
}

// records are what is kept, by what names them.
type records struct {
	Version   int                              `json:"version"`
	Leases    map[string]aged[lease.Lease]     `json:"leases"`
	Hosts     map[string]aged[chain.Host]      `json:"hosts"`
	Mandates  map[string]aged[mandate.Mandate] `json:"mandates"`
	Endpoints map[string]aged[[]string]        `json:"endpoints"`
	Rules     map[string]aged[lease.Params]    `json:"rules"`
}

const recordsVersion = 1 // of the file; another is forgotten, the ledger tells again

// aged is a record and when it was read.
type aged[T any] struct {
	Record T         `json:"record"`
	Read   time.Time `json:"read"`
}

const (
	// A revoked key can harm its account for so long at hosts that see no ledger.
	mandateMemory = 24 * time.Hour
	otherMemory   = 90 * 24 * time.Hour
	// memoryPatience is how long a ledger node may take where memory has an answer.
	memoryPatience = 5 * time.Second
	memoryEach     = 1 << 16 // records of one sort
	keepMemory     = time.Minute
)

// recall opens the memory at path. A file that can't be read is no loss: the
// ledger tells again.
func recall(ledger market.Ledger, path string, log *slog.Logger) *memory {
	m := &memory{Ledger: ledger, path: path, log: log}
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &m.kept)
	}
	if err == nil && m.kept.Version != recordsVersion {
		err = fault.New(fault.UnknownFormat, "version %d", m.kept.Version)
	}
	if err != nil {
		m.kept = records{}
		if !errors.Is(err, os.ErrNotExist) {
			log.Warn("recall ledger records", "err", err)
		}
	}
	return m
}

// Lease is the newest record of a lease that can be had.
func (m *memory) Lease(ctx context.Context, id uint64) (lease.Lease, error) {
	return remembered(ctx, m, &m.kept.Leases, strconv.FormatUint(id, 10), otherMemory, func(ctx context.Context) (lease.Lease, error) {
		return m.Ledger.Lease(ctx, id)
	})
}

// Host is the newest record of a host that can be had.
func (m *memory) Host(ctx context.Context, address string) (chain.Host, error) {
	return remembered(ctx, m, &m.kept.Hosts, address, otherMemory, func(ctx context.Context) (chain.Host, error) {
		return m.Ledger.Host(ctx, address)
	})
}

// Endpoints are a host's addresses.
func (m *memory) Endpoints(ctx context.Context, h chain.Host) ([]string, error) {
	return remembered(ctx, m, &m.kept.Endpoints, h.Address, otherMemory, func(ctx context.Context) ([]string, error) {
		return m.Ledger.Endpoints(ctx, h)
	})
}

// moved takes a known host's new addresses. They may be anybody's word: who
// answers there has to prove the host's key.
func (m *memory) moved(address string, endpoints []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.kept.Endpoints[address]; ok {
		m.kept.Endpoints[address], m.dirty = aged[[]string]{endpoints, time.Now()}, true
	}
}

// Mandate is the newest record of a mandate that can be had, if it isn't old.
func (m *memory) Mandate(ctx context.Context, grantor string, key [32]byte) (mandate.Mandate, error) {
	return remembered(ctx, m, &m.kept.Mandates, grantor+" "+hex.EncodeToString(key[:]), mandateMemory, func(ctx context.Context) (mandate.Mandate, error) {
		return m.Ledger.Mandate(ctx, grantor, key)
	})
}

// Rules are the market's parameters.
func (m *memory) Rules(ctx context.Context) (lease.Params, error) {
	return remembered(ctx, m, &m.kept.Rules, "market", otherMemory, m.Ledger.Rules)
}

// remembered reads a record, and takes the one that was read before where no
// ledger node answers. A ledger that says there is none is believed.
func remembered[T any](ctx context.Context, m *memory, kept *map[string]aged[T], key string, most time.Duration, read func(context.Context) (T, error)) (T, error) {
	m.mu.Lock()
	had, ok := (*kept)[key]
	m.mu.Unlock()
	ok = ok && time.Since(had.Read) < most
	asked, cancel := ctx, context.CancelFunc(func() {})
	if ok {
		asked, cancel = context.WithTimeout(ctx, memoryPatience)
	}
	defer cancel()
	now, err := read(asked)
	switch silent := fault.CodeOf(err) == fault.LedgerDown || asked.Err() != nil; {
	case err == nil:
		m.mu.Lock()
		defer m.mu.Unlock()
		if *kept == nil || len(*kept) >= memoryEach {
			*kept = map[string]aged[T]{}
		}
		(*kept)[key] = aged[T]{now, time.Now()}
		m.dirty = m.dirty || time.Since(had.Read) > mandateMemory/24 || !reflect.DeepEqual(now, had.Record)
		return now, nil
	case ok && silent && ctx.Err() == nil:
		m.log.Debug("the ledger doesn't answer, what it said before counts", "record", key, "err", err)
		return had.Record, nil
	case !silent && (fault.CodeOf(err) == fault.NoLease || fault.CodeOf(err) == fault.NotFound):
		m.mu.Lock()
		defer m.mu.Unlock()
		_, was := (*kept)[key]
		delete(*kept, key)
		m.dirty = m.dirty || was
	}
	return now, err
}

// run keeps the records now and again until ctx ends.
func (m *memory) run(ctx context.Context) {
	t := time.NewTicker(keepMemory)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := m.keep(); err != nil {
			m.log.Warn("keep ledger records", "err", err)
		}
	}
}

// keep writes the records down where they have changed.
func (m *memory) keep() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirty {
		return nil
	}
	m.kept.Version = recordsVersion
	b, err := json.Marshal(m.kept)
	if err == nil {
		err = durable.Write(m.path, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep ledger records: %w", err)
	}
	m.dirty = false
	return nil
}
