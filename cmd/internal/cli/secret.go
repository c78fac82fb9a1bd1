package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/instance"
)

const maxSecret = 4 << 10 // bytes of a passphrase or a phrase

// readSecrets reads the files of an instance's secrets, each named NAME=FILE: a value
// on a command line would be everybody's to see.
func (a *App) readSecrets(named []string) (out []api.Secret, err error) {
	input := false
	for _, s := range named {
		name, path, ok := strings.Cut(s, "=")
		if !ok || name == "" || path == "" {
			return nil, fault.New(fault.BadRequest, "--secret: it is NAME=FILE, or NAME=- for standard input")
		}
		from := a.Term.In()
		if path != "-" {
			f, err := os.Open(path)
			if err != nil {
				var cause *fs.PathError
				if errors.As(err, &cause) { // without its name: that may be the value, given by mistake
					err = cause.Err
				}
				return nil, fault.New(fault.BadRequest, "read secret %s: behind = stands the name of its file: %w", name, err)
			}
			defer f.Close()
			from = f
		} else if input {
			return nil, fault.New(fault.BadRequest, "--secret %s=-: standard input is another's already", name)
		} else {
			input = true
		}
		value, err := io.ReadAll(io.LimitReader(from, instance.MaxSecret+1))
		if err != nil {
			return nil, fmt.Errorf("read secret %s: %w", name, err)
		}
		out = append(out, api.Secret{Name: name, Value: value})
	}
	return out, nil
}

// ReadSecret reads a secret from a file, `-` being standard input.
func (a *App) ReadSecret(path string) ([]byte, error) {
	from := a.Term.In()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fault.New(fault.BadRequest, "read secret: %w", err)
		}
		defer f.Close()
		from = f
	}
	secret, err := io.ReadAll(io.LimitReader(from, maxSecret+1))
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	if len(secret) > maxSecret {
		return nil, fault.New(fault.TooLarge, "read secret from %s: more than %d bytes", path, maxSecret)
	}
	return bytes.TrimRight(secret, "\r\n"), nil
}
