package host

import (
	"context"
	"errors"
	"io"

	"hearth/compute/image"
	"hearth/compute/sandbox"
	"hearth/compute/wire"
	"hearth/core/fault"
	"hearth/core/instance"
)

// A giver has what an instance is started with.
type giver interface {
	image.Source
	// Secrets gives the canonical bytes of the instance's secrets, the caller's to clear.
	Secrets(ctx context.Context) ([]byte, error)
}

// secretsOf are an instance's secrets: those that are in memory since it was started, or
// what from gives for them. They are on no disk of this machine.
func (h *Host) secretsOf(ctx context.Context, id instance.ID, s instance.Spec, from giver) (instance.Secrets, error) {
	if s.Secrets == ([32]byte{}) {
		return instance.Secrets{}, nil
	}
	h.mu.Lock()
	have, there := h.secrets[id]
	h.mu.Unlock()
	if there {
		return have, nil
	}
	b, err := from.Secrets(ctx)
	if err != nil {
		return instance.Secrets{}, err
	}
	defer clear(b)
	got, err := instance.DecodeSecrets(b)
	if err != nil {
		return instance.Secrets{}, err
	}
	if got.Commitment() != s.Secrets {
		return instance.Secrets{}, fault.New(fault.BadRequest, "start instance %x: these aren't the secrets that were signed for", id)
	}
	return got, nil
}

// keepSecrets keeps an instance's secrets in memory for as long as it is under its lease.
func (h *Host) keepSecrets(id instance.ID, s instance.Secrets) {
	if len(s.Files) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.secrets[id] = s
}

// dropSecrets forgets them. Nobody starts the instance meanwhile.
func (h *Host) dropSecrets(id instance.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.secrets[id].Files {
		clear(f.Value)
	}
	delete(h.secrets, id)
}

// waits says whether an instance that went down with the machine can't be run again
// because its secrets did too.
func (h *Host) waits(id instance.ID, secrets [32]byte, s sandbox.State) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, there := h.secrets[id]
	return lostIn(s) && secrets != ([32]byte{}) && !there
}

// files is what the engine makes of secrets.
func files(s instance.Secrets) map[string][]byte {
	if len(s.Files) == 0 {
		return nil
	}
	out := make(map[string][]byte, len(s.Files))
	for _, f := range s.Files {
		out[f.Name] = f.Value
	}
	return out
}

// Secrets asks for the instance's secrets.
func (p *parcels) Secrets(ctx context.Context) ([]byte, error) {
	r, err := p.get(ctx, "secrets", &wire.Need{Secrets: true, Most: instance.MaxSecretsCoded})
	if err != nil {
		return nil, err
	}
	b := make([]byte, r.left)
	_, err = io.ReadFull(r, b)
	return b, errors.Join(err, r.Close())
}

func (nowhere) Secrets(context.Context) ([]byte, error) {
	return nil, fault.New(fault.NotFound, "it waits for its secrets, which its client has")
}
