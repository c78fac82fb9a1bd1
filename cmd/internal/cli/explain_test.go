package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheCommittedListOfErrorsIsTheRegistrys(t *testing.T) {
	var want strings.Builder
	if err := explainMarkdown(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "errors.md"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want.String() {
		t.Error("docs/errors.md is not what core/fault says; run make generate")
	}
}
