package main

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
	"hearth/node"
)

const maxSecret = 4 << 10 // bytes of a passphrase or a phrase

// passphrase opens the keys in the node's folder: from the file that was named,
// or asked for where the keys are sealed. Keys that aren't sealed need none.
func (a *app) passphrase() ([]byte, error) {
	if a.passphraseFile != "" {
		return a.readSecret(a.passphraseFile)
	}
	sealed, err := node.NeedsPassphrase(a.dir)
	if err != nil || !sealed {
		return nil, err
	}
	return a.term.AskSecret("Passphrase", "--passphrase-file")
}

// newPassphrase is the one that new keys are sealed with; empty: by the file's
// mode alone.
func (a *app) newPassphrase() ([]byte, error) {
	if a.passphraseFile != "" {
		return a.readSecret(a.passphraseFile)
	}
	if !a.term.Person() {
		a.term.Say("no passphrase: the keys are protected by the mode of their file alone")
		return nil, nil
	}
	first, err := a.term.AskSecret("New passphrase (empty for none)", "--passphrase-file")
	if err != nil {
		return nil, err
	}
	again, err := a.term.AskSecret("The same again", "--passphrase-file")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, again) {
		return nil, fault.New(fault.WrongPassphrase, "choose passphrase: the two are different")
	}
	return first, nil
}

// readSecrets reads the files of an instance's secrets, each named NAME=FILE: a value
// on a command line would be everybody's to see.
func (a *app) readSecrets(named []string) (out []api.Secret, err error) {
	input := false
	for _, s := range named {
		name, path, ok := strings.Cut(s, "=")
		if !ok || name == "" || path == "" {
			return nil, fault.New(fault.BadRequest, "--secret: it is NAME=FILE, or NAME=- for standard input")
		}
		from := a.term.In()
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

// readSecret reads a secret from a file, `-` being standard input.
func (a *app) readSecret(path string) ([]byte, error) {
	from := a.term.In()
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
