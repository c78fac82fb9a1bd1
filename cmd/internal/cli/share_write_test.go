package cli

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"hearth/core/fault"
	"hearth/core/share"
)

func TestALinkForWritingLeadsToItsDoorAlone(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	door := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusMovedPermanently))
	defer door.Close()
	file := filepath.Join(t.TempDir(), "note")
	if err := os.WriteFile(file, []byte("for the owner alone"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := share.Write{Endpoint: door.URL, Region: "hearth", Bucket: "inbox", Prefix: "from/", Access: "access", Secret: "secret"}
	web, err := clientOf(l)
	if err != nil {
		t.Fatal(err)
	}
	if err := putAt(t.Context(), web, l, file); fault.CodeOf(err) != fault.Unauthorized {
		t.Errorf("a door that sends one elsewhere: %v", err)
	}
	if elsewhere.Load() != 0 {
		t.Error("somebody else was asked")
	}
}
