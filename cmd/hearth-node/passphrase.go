package main

import (
	"bytes"

	"hearth/core/fault"
	"hearth/node"
)

// passphrase opens the keys in the node's folder: from the file that was named,
// or asked for where the keys are sealed. Keys that aren't sealed need none.
func (a *app) passphrase() ([]byte, error) {
	if a.PassphraseFile != "" {
		return a.ReadSecret(a.PassphraseFile)
	}
	sealed, err := node.NeedsPassphrase(a.Dir)
	if err != nil || !sealed {
		return nil, err
	}
	return a.Term.AskSecret("Passphrase", "--passphrase-file")
}

// newPassphrase is the one that new keys are sealed with; empty: by the file's
// mode alone.
func (a *app) newPassphrase() ([]byte, error) {
	if a.PassphraseFile != "" {
		return a.ReadSecret(a.PassphraseFile)
	}
	if !a.Term.Person() {
		a.Term.Say("no passphrase: the keys are protected by the mode of their file alone")
		return nil, nil
	}
	first, err := a.Term.AskSecret("New passphrase (empty for none)", "--passphrase-file")
	if err != nil {
		return nil, err
	}
	again, err := a.Term.AskSecret("The same again", "--passphrase-file")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, again) {
		return nil, fault.New(fault.WrongPassphrase, "choose passphrase: the two are different")
	}
	return first, nil
}
