package layout

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/core/fault"
)

const (
	maxFiles = 100_000 // in an archive
	maxLinks = 8       // from one name to the next
)

// archive is a tar file whose files are read where they lie.
type archive struct {
	file  *os.File
	at    map[string]span
	links map[string]string
}

type span struct{ off, size int64 }

func openArchive(name string) (source, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	a := &archive{f, map[string]span{}, map[string]string{}}
	if err := a.list(); err != nil {
		return nil, errors.Join(wrong(name, err), f.Close())
	}
	return a, nil
}

// list notes where each file lies.
func (a *archive) list() error {
	head := make([]byte, 6)
	if _, err := a.file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for magic, program := range map[string]string{"\x1f\x8b": "gunzip", "\x28\xb5\x2f\xfd": "unzstd", "\xfd7zXZ\x00": "unxz"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return fault.New(fault.BadRequest, "the archive is compressed as a whole: %s it first", program)
		}
	}
	r := tar.NewReader(a.file)
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("it is neither an OCI layout nor an archive of images: %w", err)
		}
		if n == maxFiles {
			return fault.New(fault.TooLarge, "more than %d files", maxFiles)
		}
		name := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			off, err := a.file.Seek(0, io.SeekCurrent)
			if err != nil {
				return err
			}
			a.at[name] = span{off, h.Size}
		case tar.TypeSymlink:
			a.links[name] = path.Join(path.Dir(name), h.Linkname)
		case tar.TypeLink:
			a.links[name] = path.Clean(h.Linkname)
		}
	}
}

func (a *archive) open(name string) (io.ReadCloser, int64, error) {
	for range maxLinks {
		if s, ok := a.at[name]; ok {
			return io.NopCloser(io.NewSectionReader(a.file, s.off, s.size)), s.size, nil
		}
		next, ok := a.links[name]
		if !ok {
			break
		}
		name = next
	}
	return nil, 0, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

func (a *archive) close() error { return a.file.Close() }

// saved reads what `docker save` writes: layers that aren't compressed, and a list of
// images. Layers are compressed for the registry, each time in the same way.
func (i *Image) saved(tag string) error {
	text, err := read(i.files, "manifest.json")
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("it is neither an OCI layout nor what docker save writes: there is no index.json and no manifest.json")
	}
	if err != nil {
		return err
	}
	var all []savedImage
	if err := json.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("manifest.json: %w", err)
	}
	m, name, err := pick(all, tag)
	if err != nil {
		return err
	}
	i.Name = name
	config, err := read(i.files, path.Clean(m.Config))
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	var says oci.Image
	if err := json.Unmarshal(config, &says); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if len(says.RootFS.DiffIDs) != len(m.Layers) {
		return fmt.Errorf("%d layers, its config names %d", len(m.Layers), len(says.RootFS.DiffIDs))
	}
	own := oci.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaTypeImageManifest,
		Config: oci.Descriptor{MediaType: oci.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))},
		Layers: []oci.Descriptor{},
	}
	i.Blobs = append(i.Blobs, Part{own.Config, whole(config)})
	packed := map[digest.Digest]oci.Descriptor{}
	for n, file := range m.Layers {
		id := says.RootFS.DiffIDs[n]
		d, ok := packed[id]
		if !ok {
			if d, err = i.layer(path.Clean(file), id); err != nil {
				return fmt.Errorf("layer %d: %w", n+1, err)
			}
			packed[id] = d
		}
		own.Layers = append(own.Layers, d)
	}
	body, err := json.Marshal(own)
	if err != nil {
		return err
	}
	i.Manifests = []Part{{oci.Descriptor{MediaType: own.MediaType, Digest: digest.FromBytes(body), Size: int64(len(body))}, whole(body)}}
	return nil
}

type savedImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func pick(all []savedImage, tag string) (savedImage, string, error) {
	var names []string
	for _, m := range all {
		for _, name := range m.RepoTags {
			if tag != "" && strings.HasSuffix(name, ":"+tag) {
				return m, name, nil
			}
			names = append(names, name)
		}
	}
	switch {
	case len(all) == 0:
		return savedImage{}, "", errors.New("there is no image in it")
	case len(all) == 1 && len(names) > 0:
		return all[0], names[0], nil
	case len(all) == 1:
		return all[0], "", nil
	}
	return savedImage{}, "", fault.New(fault.BadRequest, "it holds %d images (%s): say which by the tag, as NAME:TAG", len(all), strings.Join(names, ", "))
}

func whole(b []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

// layer finds out what a layer is once compressed, and whether it is what the config
// says.
func (i *Image) layer(file string, id digest.Digest) (oci.Descriptor, error) {
	f, _, err := i.files.open(file)
	if err != nil {
		return oci.Descriptor{}, err
	}
	sum, plain := sha256.New(), sha256.New()
	n := &counted{to: sum}
	if err := compress(n, io.TeeReader(f, plain)); err != nil {
		return oci.Descriptor{}, errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return oci.Descriptor{}, err
	}
	if got := digest.NewDigest(digest.SHA256, plain); got != id {
		return oci.Descriptor{}, fmt.Errorf("it is %s, the config says %.100q", got, string(id))
	}
	d := oci.Descriptor{MediaType: oci.MediaTypeImageLayerGzip, Digest: digest.NewDigest(digest.SHA256, sum), Size: n.n}
	i.Blobs = append(i.Blobs, Part{d, func() (io.ReadCloser, error) {
		f, _, err := i.files.open(file)
		if err != nil {
			return nil, err
		}
		in, out := io.Pipe()
		go func() {
			err := compress(out, f)
			out.CloseWithError(errors.Join(err, f.Close()))
		}()
		return in, nil
	}})
	return d, nil
}

// compress is the same for the same bytes.
func compress(to io.Writer, from io.Reader) error {
	z, err := gzip.NewWriterLevel(to, gzip.DefaultCompression)
	if err != nil {
		return err
	}
	if _, err := io.Copy(z, from); err != nil {
		return err
	}
	return z.Close()
}

type counted struct {
	to io.Writer
	n  int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}
