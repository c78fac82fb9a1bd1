package cloud

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"hearth/wallet"
)

// Join makes one host more, an identity of its own, starts it and waits until it
// serves. It is there at the next start of the cloud too.
func (c *Cloud) Join(ctx context.Context, config Config) (*Process, error) {
	i := len(c.Hosts)
	phrase, err := wallet.NewPhrase()
	if err != nil {
		return nil, fmt.Errorf("join cloud: %w", err)
	}
	dir := hostDir(c.Dir, i)
	if err := writeNode(dir, c.Network, phrase, hostSettings(config, i)); err != nil {
		return nil, err
	}
	p := &Process{Name: "host " + strconv.Itoa(i), Dir: dir, argv: append([]string(nil), c.Client.argv...)}
	for j, arg := range p.argv {
		if arg == c.Client.Dir {
			p.argv[j] = dir
		}
	}
	c.Hosts = append(c.Hosts, p)
	text := fmt.Sprintf("%s\n%d\n%s\n", c.Network, len(c.Hosts), c.Class)
	if err := os.WriteFile(filepath.Join(c.Dir, marker), []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("join cloud: %w", err)
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	return p, p.Ready(ctx)
}
