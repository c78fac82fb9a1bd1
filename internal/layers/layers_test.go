package layers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "hearth/"

const (
	floor   = "core internal"
	ground  = floor + " p2p chain wallet"
	streets = "storage compute edge names relay talk"
	upstair = ground + " market " + streets + " steward"
)

// may lists, for each folder, the folders it may import besides itself.
// A folder that isn't here may not hold Go files.
var may = map[string]string{
	"core":     "",
	"internal": "core",
	"ledger":   floor,
	"p2p":      floor,
	"chain":    floor,
	"wallet":   floor,
	"web":      floor,
	"market":   ground,
	"storage":  ground + " market",
	"compute":  ground + " market",
	"edge":     ground + " market",
	"names":    ground + " market",
	"relay":    ground + " market",
	"talk":     ground + " market",
	"steward":  ground + " market " + streets,
	"api":      upstair + " web",
	"sdk":      upstair + " api",
	"node":     upstair + " api web",
	"cmd":      upstair + " api sdk node ledger web",
	"test":     upstair + " api sdk node",
}

// clocks are the names of package time that read a clock or wait for one. The
// rest of the package only computes.
var clocks = strings.Fields("Now Since Until Sleep After AfterFunc Tick NewTimer NewTicker Local LoadLocation")

// impure is what core must never reach for: input, output, chance, and
// whatever is only needed beside those.
var impure = strings.Fields("os os/exec os/signal io/fs io/ioutil net net/http sync sync/atomic " +
	"context math/rand math/rand/v2 crypto/rand log log/slog runtime syscall unsafe plugin embed testing")

// An imported is one import of one file.
type imported struct{ file, path string }

func TestImportsRunOneWay(t *testing.T) {
	for _, im := range imports(t) {
		from, _, _ := strings.Cut(im.file, "/")
		allowed, known := may[from]
		if !known {
			t.Fatalf("%s: the folder %s has no place in the import order", im.file, from)
		}
		to, ours := strings.CutPrefix(im.path, module)
		to, _, _ = strings.Cut(to, "/")
		if ours && to != from && !slices.Contains(strings.Fields(allowed), to) {
			t.Errorf("%s imports %s; %s may import only: %s", im.file, im.path, from, allowed)
		}
	}
}

func TestCoreIsPure(t *testing.T) {
	for _, im := range imports(t) {
		if strings.HasPrefix(im.file, "core/") && slices.Contains(impure, im.path) {
			t.Errorf("%s imports %s; core is pure", im.file, im.path)
		}
	}
}

func TestCoreReadsNoClock(t *testing.T) {
	core := filepath.Join("..", "..", "core")
	err := filepath.WalkDir(core, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" && slices.Contains(clocks, sel.Sel.Name) {
				t.Errorf("%s uses time.%s; in core, time is an argument", path, sel.Sel.Name)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOnlyTheLedgerKnowsTheCosmosSDK(t *testing.T) {
	for _, im := range imports(t) {
		if strings.HasPrefix(im.file, "ledger/") || strings.HasPrefix(im.file, "cmd/hearth-ledger/") {
			continue
		}
		if strings.HasPrefix(im.path, "github.com/cosmos/cosmos-sdk") || strings.HasPrefix(im.path, module+"ledger") {
			t.Errorf("%s imports %s; only hearth-ledger links it", im.file, im.path)
		}
	}
}

func TestOnlyHearthSandboxKnowsGVisor(t *testing.T) {
	for _, im := range imports(t) {
		if strings.HasPrefix(im.path, "gvisor.dev/") && !strings.HasPrefix(im.file, "cmd/hearth-sandbox/") {
			t.Errorf("%s imports %s; only hearth-sandbox links it", im.file, im.path)
		}
	}
}

// Every command waits until all that the program is made of has been set up.
func TestTheCommandLineStaysSmall(t *testing.T) {
	of := map[string][]string{} // what each folder imports
	for _, im := range imports(t) {
		dir := path.Dir(im.file)
		of[dir] = append(of[dir], im.path)
	}
	todo, seen := []string{"cmd/hearth"}, map[string]bool{}
	for len(todo) > 0 {
		dir := todo[0]
		if todo = todo[1:]; seen[dir] {
			continue
		}
		seen[dir] = true
		if !slices.ContainsFunc(small, func(s string) bool { return dir == s || strings.HasPrefix(dir, s+"/") }) || strings.HasPrefix(dir, "api/") {
			t.Errorf("cmd/hearth is made of %s too; that belongs into hearth-node", dir)
			continue
		}
		for _, to := range of[dir] {
			if to, ours := strings.CutPrefix(to, module); ours {
				todo = append(todo, to)
			}
			if slices.ContainsFunc(large, func(s string) bool { return strings.HasPrefix(to, s) }) {
				t.Errorf("%s imports %s; cmd/hearth is made of it, and starts in milliseconds", dir, to)
			}
		}
	}
}

// small is what the command line may be made of; large are libraries that it may not.
var (
	small = strings.Fields("cmd/hearth cmd/internal/cli core internal sdk api wallet compute/wasm compute/layout compute/pull compute/manifest")
	large = strings.Fields("github.com/cometbft github.com/cosmos/gogoproto github.com/libp2p github.com/cockroachdb/pebble github.com/prometheus " +
		"github.com/versity")
)

func TestTheLedgersHostsNeverCallItsMarket(t *testing.T) {
	for _, im := range imports(t) {
		if strings.HasPrefix(im.file, "ledger/hosts/") && strings.HasPrefix(im.path, module+"ledger/market") {
			t.Errorf("%s imports %s; market calls hosts, never back", im.file, im.path)
		}
	}
}

// imports reads every import of every Go file that is not a test.
func imports(t *testing.T) []imported {
	t.Helper()
	root := filepath.Join("..", "..")
	var all []imported
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (strings.HasPrefix(name, ".") && name != ".." || slices.Contains(skipped, name)) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		file, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			all = append(all, imported{filepath.ToSlash(file), p})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no imports found; is the test in the right folder?")
	}
	return all
}

// skipped are folders without Go files of ours.
var skipped = []string{"bin", "tools", "node_modules", "testdata"}
