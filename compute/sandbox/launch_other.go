//go:build !linux

package sandbox

import (
	"context"
	"errors"
	"net"

	"hearth/compute/sandbox/wire"
	"hearth/core/fault"
)

var errLinux = errors.New("containers need Linux")

func (e *Engine) launch(context.Context, string, wire.Launch) error {
	return fault.New(fault.NoContainers, "start a container: %w", errLinux)
}

func held(string) bool { return false }

func dial(context.Context, string) (net.Conn, error) { return nil, errLinux }
