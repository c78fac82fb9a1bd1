// Command web is a Go program for net/http that answers requests as a function.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"strings"
)

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s\n", r.FormValue("name"))
	})
	mux.HandleFunc("POST /upper", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("X-Bytes", fmt.Sprint(len(body)))
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, strings.ToUpper(string(body)))
	})
	mux.HandleFunc("/plain", func(http.ResponseWriter, *http.Request) {
		fmt.Fprintln(os.Stdout, "no header")
		os.Exit(0)
	})
	mux.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	mux.HandleFunc("/spin", func(http.ResponseWriter, *http.Request) {
		for sum := sha256.Sum256(nil); ; {
			sum = sha256.Sum256(sum[:])
		}
	})
	if err := cgi.Serve(http.StripPrefix(os.Getenv("SCRIPT_NAME"), mux)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
