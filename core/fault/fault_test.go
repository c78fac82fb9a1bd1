package fault_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"hearth/core/fault"
)

// Every declared code is explained once, completely.
func TestEveryCodeIsExplained(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "registry.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[fault.Code]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); ok && id.Name == "Code" {
			word, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared[fault.Code(word)] = true
		}
		return true
	})
	for _, e := range fault.All() {
		if !declared[e.Code] {
			t.Errorf("%s is explained twice, or not declared", e.Code)
		}
		delete(declared, e.Code)
		if e.Exit == 0 || e.HTTP < 200 || e.Cause == "" || e.Remedy == "" {
			t.Errorf("%s: incomplete entry", e.Code)
		}
	}
	for c := range declared {
		t.Errorf("%s isn't explained", c)
	}
}

func TestCodeSurvivesWrapping(t *testing.T) {
	cause := errors.New("no space left")
	err := fmt.Errorf("put a: %w", fault.New(fault.DiskFull, "write volume: %w", cause))
	if got := fault.CodeOf(err); got != fault.DiskFull {
		t.Errorf("code %s", got)
	}
	if !errors.Is(err, cause) || !errors.Is(err, &fault.Error{Code: fault.DiskFull}) {
		t.Error("cause or code lost")
	}
	if fault.CodeOf(cause) != fault.Internal || fault.CodeOf(nil) != "" {
		t.Error("an error without a code is internal, nil has none")
	}
}
