package s3

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/versity/versitygw/metrics"
)

// TestTheListOfOperationsIsWhole compares docs/s3.md with the gateway: each of its
// operations is there once, and each that is done names a test that there is.
func TestTheListOfOperationsIsWhole(t *testing.T) {
	text, err := os.ReadFile("../../docs/s3.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	tests := make(map[string]bool)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(b), -1) {
			tests[m[1]] = true
		}
	}
	row := regexp.MustCompile(`(?m)^\| ([A-Z]\w+) \| (yes|partly|no) \| ([^|]*)\| (\w*) ?\|$`)
	listed := make(map[string]bool)
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		name, state, test := m[1], m[2], m[4]
		if listed[name] {
			t.Errorf("%s is listed twice", name)
		}
		listed[name] = true
		if state != "no" && !tests[test] {
			t.Errorf("%s: %s, but there is no test %q", name, state, test)
		}
		if state == "partly" && strings.TrimSpace(m[3]) == "" {
			t.Errorf("%s: partly, and how isn't said", name)
		}
	}
	for _, a := range metrics.ActionMap {
		if a.Service == "s3" && !listed[a.Name] {
			t.Errorf("%s isn't listed", a.Name)
		}
		delete(listed, a.Name)
	}
	for name := range listed {
		t.Errorf("%s is listed and the gateway has no such operation", name)
	}
}
