// Package layout reads container images from files: a folder or an archive in OCI
// layout, or what `docker save` writes.
package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/core/fault"
)

// maxDocument bounds what is read as a whole: indexes, manifests and configs.
const maxDocument = 4 << 20

// An Image is one image, or an index of such, and all that it is made of.
type Image struct {
	Name      string   // as the source calls it, NAME or NAME:TAG; may be empty
	Blobs     []Part   // each once
	Manifests []Part   // what a manifest names is before it: the last one is the image's
	Missing   []string // platforms that its index names and that aren't here; the index here is without them

	files source                  // nil: it isn't made of files
	from  Source                  // of its parts
	want  func(oci.Platform) bool // nil: every platform that is there
	bytes int64                   // of all manifests
}

// A Source gives the parts of an image.
type Source interface {
	// Manifest reads one as a whole; fs.ErrNotExist: it isn't there. That its bytes are
	// those of the digest is for the caller to see.
	Manifest(d oci.Descriptor) ([]byte, error)
	// Blob says how a blob is read, as often as one likes; fs.ErrNotExist as above.
	Blob(d oci.Descriptor) (open func() (io.ReadCloser, error), err error)
}

// Gather finds what an image is made of. Of an index for several platforms those are
// taken that want says; nil: all. An index in an index is taken as a whole.
func Gather(top oci.Descriptor, from Source, want func(oci.Platform) bool) (*Image, error) {
	i := &Image{from: from, want: want}
	if err := i.manifest(top, map[digest.Digest]bool{}, 0); err != nil {
		return nil, err
	}
	return i, nil
}

// A Part is a blob or a manifest.
type Part struct {
	oci.Descriptor
	Open func() (io.ReadCloser, error) // what it reads isn't checked against the digest
}

// Close closes the files. The parts can't be opened then.
func (i *Image) Close() error {
	if i.files == nil {
		return nil
	}
	return i.files.close()
}

// Size is that of all blobs.
func (i *Image) Size() (n int64) {
	for _, b := range i.Blobs {
		n += b.Size
	}
	return n
}

// Digest is that of the image's manifest.
func (i *Image) Digest() digest.Digest { return i.Manifests[len(i.Manifests)-1].Digest }

// A source gives files by their names.
type source interface {
	open(name string) (io.ReadCloser, int64, error) // fs.ErrNotExist
	close() error
}

// Open finds the image in a folder or an archive. Where there are several, tag says
// which is meant.
func Open(path, tag string) (*Image, error) {
	s, err := sourceOf(path)
	if err != nil {
		return nil, err
	}
	i := &Image{files: s, from: inFiles{s}}
	index, err := read(s, oci.ImageIndexFile)
	switch {
	case err == nil:
		err = i.layout(index, tag)
	case errors.Is(err, fs.ErrNotExist):
		err = i.saved(tag)
	}
	if err != nil {
		return nil, errors.Join(wrong(path, err), s.close())
	}
	return i, nil
}

func wrong(path string, err error) error {
	if fault.CodeOf(err) != fault.Internal {
		return fault.New(fault.CodeOf(err), "read image %s: %w", path, err)
	}
	return fault.New(fault.BadImage, "read image %s: %w", path, err)
}

func sourceOf(path string) (source, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "read image: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	if info.IsDir() {
		root, err := os.OpenRoot(path)
		if err != nil {
			return nil, fmt.Errorf("read image: %w", err)
		}
		return folder{root}, nil
	}
	return openArchive(path)
}

// folder is an unpacked layout. Links don't lead out of it.
type folder struct{ root *os.Root }

func (f folder) open(name string) (io.ReadCloser, int64, error) {
	file, err := f.root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

func (f folder) close() error { return f.root.Close() }

// read gives a whole file.
func read(s source, name string) ([]byte, error) {
	f, size, err := s.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > maxDocument {
		return nil, fault.New(fault.TooLarge, "%s has %d bytes, at most %d are allowed", name, size, maxDocument)
	}
	return io.ReadAll(io.LimitReader(f, size))
}

// inFiles finds parts where an OCI layout has them.
type inFiles struct{ s source }

func (f inFiles) Manifest(d oci.Descriptor) ([]byte, error) { return read(f.s, blobFile(d.Digest)) }

func (f inFiles) Blob(b oci.Descriptor) (func() (io.ReadCloser, error), error) {
	file, size, err := f.s.open(blobFile(b.Digest))
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	if size != b.Size {
		return nil, fmt.Errorf("it has %d bytes, its manifest says %d", size, b.Size)
	}
	return func() (io.ReadCloser, error) {
		file, _, err := f.s.open(blobFile(b.Digest))
		return file, err
	}, nil
}

func blobFile(d digest.Digest) string { return "blobs/" + d.Algorithm().String() + "/" + d.Encoded() }

// layout reads an OCI layout.
func (i *Image) layout(text []byte, tag string) error {
	var index oci.Index
	if err := json.Unmarshal(text, &index); err != nil {
		return fmt.Errorf("index.json: %w", err)
	}
	d, name, err := choose(index.Manifests, tag)
	if err != nil {
		return err
	}
	i.Name = name
	return i.manifest(d, map[digest.Digest]bool{}, 0)
}

// choose takes the only image, or the one that is called so.
func choose(all []oci.Descriptor, tag string) (oci.Descriptor, string, error) {
	var names []string
	found := map[digest.Digest]oci.Descriptor{}
	var last oci.Descriptor
	for _, d := range all {
		name := called(d)
		names = append(names, name)
		if tag != "" && (name == tag || strings.HasSuffix(name, ":"+tag)) {
			return d, name, nil
		}
		found[d.Digest], last = d, d
	}
	switch len(found) {
	case 0:
		return last, "", errors.New("there is no image in it")
	case 1:
		return last, called(last), nil
	}
	return last, "", fault.New(fault.BadRequest, "it holds %d images (%s): say which by the tag, as NAME:TAG", len(found), strings.Join(names, ", "))
}

// called is the name in an index's notes.
func called(d oci.Descriptor) string {
	if name := d.Annotations["io.containerd.image.name"]; name != "" {
		return name
	}
	return d.Annotations[oci.AnnotationRefName]
}

const (
	maxDepth     = 3        // of indexes in indexes
	maxParts     = 1024     // of a manifest
	maxManifests = 64 << 20 // bytes of all of them
)

// manifest takes what a manifest is made of, then itself.
func (i *Image) manifest(d oci.Descriptor, seen map[digest.Digest]bool, depth int) error {
	if err := d.Digest.Validate(); err != nil || d.Digest.Algorithm() != digest.SHA256 {
		return fmt.Errorf("digest %.100q isn't sha256 of 64 hex digits", string(d.Digest))
	}
	if seen[d.Digest] {
		return nil
	}
	seen[d.Digest] = true
	body, err := i.from.Manifest(d)
	if err != nil {
		return fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if i.bytes += int64(len(body)); i.bytes > maxManifests {
		return fault.New(fault.TooLarge, "its manifests have more than %d bytes", maxManifests)
	}
	if digest.FromBytes(body) != d.Digest {
		return fmt.Errorf("manifest %s: its bytes have another digest", d.Digest)
	}
	var m struct {
		MediaType string           `json:"mediaType"`
		Config    *oci.Descriptor  `json:"config"`
		Layers    []oci.Descriptor `json:"layers"`
		Manifests []oci.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if m.MediaType != "" {
		d.MediaType = m.MediaType
	}
	if n := len(m.Layers) + len(m.Manifests); n > maxParts {
		return fault.New(fault.TooLarge, "manifest %s: it has %d parts, at most %d are allowed", d.Digest, n, maxParts)
	}
	if depth == maxDepth {
		return errors.New("indexes lie in indexes too deep")
	}
	if len(m.Manifests) > 0 {
		if d, body, err = i.index(d, body, m.Manifests, seen, depth); err != nil || body == nil {
			return err
		}
	}
	if m.Config != nil {
		m.Layers = append([]oci.Descriptor{*m.Config}, m.Layers...)
	}
	for _, b := range m.Layers {
		if len(b.URLs) > 0 || seen[b.Digest] {
			continue
		}
		seen[b.Digest] = true
		if err := i.blob(b); err != nil {
			return err
		}
	}
	d.Size = int64(len(body))
	i.Manifests = append(i.Manifests, Part{d, whole(body)})
	return nil
}

// index takes the images of an index that are whole: docker saves the index of all
// platforms and the image of one. Without the others it is another index, or where one
// image is left nothing but that: then there is no body. An index in an index is taken
// as a whole or not at all, whatever is wanted.
func (i *Image) index(d oci.Descriptor, body []byte, all []oci.Descriptor, seen map[digest.Digest]bool, depth int) (oci.Descriptor, []byte, error) {
	var lost error
	gone := map[digest.Digest]bool{}
	for _, note := range []bool{false, true} {
		for _, c := range all {
			of := digest.Digest(c.Annotations[describes])
			if (of != "") != note {
				continue
			}
			if gone[of] {
				gone[c.Digest] = true // it says something of one that isn't here
				continue
			}
			if i.want != nil && depth == 0 && c.Platform != nil && !i.want(*c.Platform) && !note {
				gone[c.Digest] = true
				i.Missing = append(i.Missing, platformOf(c))
				continue
			}
			before, manifests, blobs, missing := maps.Clone(seen), len(i.Manifests), len(i.Blobs), len(i.Missing)
			err := i.manifest(c, seen, depth+1)
			if err == nil {
				continue
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return d, nil, err
			}
			clear(seen)
			maps.Copy(seen, before)
			i.Manifests, i.Blobs, i.Missing = i.Manifests[:manifests], i.Blobs[:blobs], i.Missing[:missing]
			if gone[c.Digest], lost = true, err; !note {
				i.Missing = append(i.Missing, platformOf(c))
			}
		}
	}
	left := slices.DeleteFunc(slices.Clone(all), func(c oci.Descriptor) bool { return gone[c.Digest] })
	switch {
	case len(gone) == 0:
		return d, body, nil
	case len(left) == 0 && lost == nil:
		return d, nil, fmt.Errorf("none of its images is for a platform that is wanted: they are for %.300s", strings.Join(i.Missing, ", "))
	case len(left) == 0 || depth > 0:
		return d, nil, lost
	case len(left) == 1:
		return d, nil, nil
	}
	says := map[string]json.RawMessage{}
	err := json.Unmarshal(body, &says)
	if err != nil {
		return d, nil, err
	}
	if says["manifests"], err = json.Marshal(left); err != nil {
		return d, nil, err
	}
	body, err = json.Marshal(says)
	d.Digest = digest.FromBytes(body)
	return d, body, err
}

// describes notes which image of an index another entry says something of, as
// docker's builders do for provenance.
const describes = "vnd.docker.reference.digest"

func platformOf(d oci.Descriptor) string {
	if d.Platform == nil {
		return d.Digest.String()
	}
	return strings.TrimRight(d.Platform.OS+"/"+d.Platform.Architecture+"/"+d.Platform.Variant, "/")
}

func (i *Image) blob(b oci.Descriptor) error {
	if err := b.Digest.Validate(); err != nil {
		return fmt.Errorf("blob %.100q: %w", string(b.Digest), err)
	}
	open, err := i.from.Blob(b)
	if err != nil {
		return fmt.Errorf("blob %s: %w", b.Digest, err)
	}
	i.Blobs = append(i.Blobs, Part{b, open})
	return nil
}
