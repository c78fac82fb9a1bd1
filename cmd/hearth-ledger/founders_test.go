package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hearth/internal/port"
)

// freePort is a port that nobody listens at, and none of those that are taken.
func freePort(t *testing.T, taken []int) int {
	t.Helper()
	for {
		n, err := port.Free()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(taken, n) {
			return n
		}
	}
}

// Four founders make one network: it goes on with one of them gone, and all have
// the same state at the same height.
func TestFourFounders(t *testing.T) {
	const n = 4
	var homes, peers, founders []string
	ports := make([]int, n)
	for i := range n {
		home := filepath.Join(t.TempDir(), "ledger")
		id := map[string]string{}
		for line := range strings.Lines(say(t, "init", "--home", home, "--keys")) {
			word, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			id[word] = value
		}
		ports[i] = freePort(t, ports[:i])
		homes = append(homes, home)
		peers = append(peers, fmt.Sprintf("%s@127.0.0.1:%d", id["node"], ports[i]))
		founders = append(founders, "--validator", fmt.Sprintf("f%d,%s,%s,1000000000", i, id["operator"], id["key"]))
	}
	common := func(i int, more ...string) []string {
		return append([]string{"init", "--home", homes[i], "--p2p", fmt.Sprintf("127.0.0.1:%d", ports[i]), "--block-time", "100ms"}, more...)
	}
	say(t, common(0, append(founders, "--sponsor-fund", "1000000")...)...)
	genesis := filepath.Join(homes[0], "config", "genesis.json")
	for i := 1; i < n; i++ {
		say(t, common(i, "--genesis", genesis)...)
	}
	var args []string
	for _, p := range peers {
		args = append(args, "--peer", p)
	}
	var nodes []*running
	for _, home := range homes {
		nodes = append(nodes, launch(t, home, args...))
	}
	for _, r := range nodes {
		r.await(t)
	}
	res, err := http.Post(nodes[0].url()+"/sponsor", "application/json", strings.NewReader(`{"address":"`+unknown+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("sponsor: %s", res.Status)
	}
	nodes[3].stop(t)
	height := nodes[0].grows(t, nodes[0].height(t)+2)
	var hashes []string
	for _, r := range nodes[:3] {
		r.grows(t, height)
		var c struct {
			SignedHeader struct {
				Header struct {
					AppHash string `json:"app_hash"`
				} `json:"header"`
			} `json:"signed_header"`
		}
		r.get(t, fmt.Sprintf("/commit?height=%d", height), &c)
		hashes = append(hashes, c.SignedHeader.Header.AppHash)
	}
	if hashes[0] == "" || hashes[0] != hashes[1] || hashes[0] != hashes[2] {
		t.Errorf("states %v", hashes)
	}
	begin := time.Now()
	for _, r := range nodes[:3] {
		r.stop(t)
	}
	if took := time.Since(begin); took > 3*time.Minute {
		t.Errorf("stopping three took %s", took)
	}
}
