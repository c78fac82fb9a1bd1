package registry

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"cuelabs.dev/go/oci/ociregistry"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	oci "github.com/opencontainers/image-spec/specs-go/v1"
)

// beside answers what the library doesn't, or not as the specification says: an end
// of an upload, and lists, which it calls null where they are empty.
func (r *Registry) beside(w http.ResponseWriter, q *http.Request) bool {
	at, ok := strings.CutPrefix(q.URL.Path, "/v2/")
	if !ok {
		return false
	}
	repo, id, upload := strings.Cut(at, "/blobs/uploads/")
	name, tagsOf := strings.CutSuffix(at, "/tags/list")
	i := strings.LastIndex(at, "/referrers/")
	var err error
	switch {
	case q.Method == http.MethodDelete && upload && id != "":
		if err = r.cancel(repo, id); err == nil {
			w.WriteHeader(http.StatusNoContent)
		}
	case q.Method != http.MethodGet:
		return false
	case at == "_catalog":
		err = page(w, q, "repositories", map[string]any{}, r.Repositories(q.Context(), q.URL.Query().Get("last")))
	case tagsOf:
		err = page(w, q, "tags", map[string]any{"name": name}, r.Tags(q.Context(), name, q.URL.Query().Get("last")))
	case i >= 0:
		err = r.referrers(w, q, at[:i], digest.Digest(at[i+len("/referrers/"):]))
	default:
		return false
	}
	if err != nil {
		r.writeError(w, q, err)
	}
	return true
}

// cancel ends an upload by the name that its Location has.
func (r *Registry) cancel(repo, id string) error {
	if err := checkName(repo); err != nil {
		return err
	}
	b, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil {
		return ociregistry.ErrBlobUploadUnknown
	}
	return r.uploads.cancel(repo, string(b))
}

const maxPage = 10_000

// page answers with as much of a list as is asked for, and says where the rest is.
func page(w http.ResponseWriter, q *http.Request, as string, answer map[string]any, all iter.Seq2[string, error]) error {
	args := q.URL.Query()
	n := maxPage
	if s := args.Get("n"); s != "" {
		asked, err := strconv.Atoi(s)
		if err != nil || asked < 0 {
			return ociregistry.NewHTTPError(fmt.Errorf("n is %.20q, which is no number of entries", s), http.StatusBadRequest, nil, nil)
		}
		n = min(asked, maxPage)
	}
	list, more := []string{}, false
	for s, err := range all {
		if err != nil {
			return err
		}
		if more = len(list) == n; more {
			break
		}
		list = append(list, s)
	}
	if more && n > 0 {
		args.Set("last", list[n-1])
		w.Header().Set("Link", fmt.Sprintf(`<%s>;rel="next"`, &url.URL{Path: q.URL.Path, RawQuery: args.Encode()}))
	}
	answer[as] = list
	return say(w, "application/json", answer)
}

// referrers answers with an index of what says something of a manifest.
func (r *Registry) referrers(w http.ResponseWriter, q *http.Request, repo string, of digest.Digest) error {
	kind := q.URL.Query().Get("artifactType")
	index := oci.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaTypeImageIndex, Manifests: []oci.Descriptor{}}
	for d, err := range r.Referrers(q.Context(), repo, of, kind) {
		if err != nil {
			return err
		}
		index.Manifests = append(index.Manifests, d)
	}
	if kind != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	return say(w, oci.MediaTypeImageIndex, index)
}

func say(w http.ResponseWriter, kind string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b) // a reader that is gone needs no answer
	return nil
}
