package carry

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hearth/core/fault"
	"hearth/internal/durable"
)

// A stream is a tar archive: first what it is, then the files, last their sums.
// Who has no sums has no whole stream.
const (
	streamHead = "hearth-folder"
	streamSums = "hearth-sums"
	maxSums    = 64 << 20
)

// Pack writes a folder as a stream.
func Pack(ctx context.Context, c Config, w io.Writer) error {
	files, _, total, err := list(c.From, c.Skip)
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	head, err := json.Marshal(header{"hearth folder", 1, c.Name})
	if err != nil {
		return err
	}
	if err := put(out, streamHead, head); err != nil {
		return err
	}
	var sums strings.Builder
	var sum int64
	for _, path := range slices.Sorted(maps.Keys(files)) {
		digest, err := packFile(ctx, out, c.From, path, files[path].Size(), int64(files[path].Mode().Perm()))
		if err != nil {
			return fmt.Errorf("pack %s: %w", path, err)
		}
		fmt.Fprintf(&sums, "%x %s\n", digest, filepath.ToSlash(path))
		if sum += files[path].Size(); c.Tell != nil {
			c.Tell(sum, total)
		}
	}
	if err := put(out, streamSums, []byte(sums.String())); err != nil {
		return err
	}
	return out.Close()
}

func put(out *tar.Writer, name string, content []byte) error {
	err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), Format: tar.FormatPAX})
	if err == nil {
		_, err = out.Write(content)
	}
	return err
}

func packFile(ctx context.Context, out *tar.Writer, from, path string, size, mode int64) ([]byte, error) {
	f, err := os.Open(filepath.Join(from, path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	err = out.WriteHeader(&tar.Header{Name: "files/" + filepath.ToSlash(path), Mode: mode, Size: size, Format: tar.FormatPAX})
	if err != nil {
		return nil, err
	}
	return pass(ctx, f, size, func(b []byte, _ int64) error {
		_, err := out.Write(b)
		return err
	})
}

// Unpack makes the folder to out of a stream: whole, or not at all.
func Unpack(ctx context.Context, r io.Reader, to string) (err error) {
	part := to + ".part"
	if err := os.Mkdir(part, 0o700); err != nil {
		return fmt.Errorf("unpack: %w", coded(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(part))
		}
	}()
	in := tar.NewReader(bufio.NewReaderSize(r, piece))
	if err := unpackHead(in); err != nil {
		return err
	}
	sums := map[string]string{}
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return fault.New(fault.DamagedFile, "unpack: the stream is cut off: it has no sums")
		}
		if err != nil {
			return fault.New(fault.DamagedFile, "unpack: %w", err)
		}
		if h.Name == streamSums {
			if err := checkSums(in, h.Size, sums); err != nil {
				return err
			}
			break
		}
		path, ok := strings.CutPrefix(h.Name, "files/")
		if _, twice := sums[path]; !ok || twice || h.Typeflag != tar.TypeReg || h.Size < 0 || !filepath.IsLocal(filepath.FromSlash(path)) {
			return fault.New(fault.DamagedFile, "unpack: %.100q isn't a file of a folder", h.Name)
		}
		if sums[path], err = unpackFile(ctx, in, filepath.Join(part, filepath.FromSlash(path)), h); err != nil {
			return fmt.Errorf("unpack %s: %w", path, err)
		}
	}
	if err := syncDirs(part); err != nil {
		return err
	}
	if err := os.Rename(part, to); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(to))
}

func unpackHead(in *tar.Reader) error {
	h, err := in.Next()
	if err != nil || h.Name != streamHead || h.Size > 4096 {
		return fault.New(fault.BadRequest, "unpack: this isn't a folder that `hearth host export` wrote")
	}
	b, err := io.ReadAll(in)
	var head header
	if err == nil {
		err = json.Unmarshal(b, &head)
	}
	if err != nil || head.Format != "hearth folder" || head.Version != 1 {
		return fault.New(fault.UnknownFormat, "unpack: the stream is of a kind this program doesn't know: %.100q", b)
	}
	return nil
}

func unpackFile(ctx context.Context, in io.Reader, to string, h *tar.Header) (sum string, err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return "", coded(err)
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, os.FileMode(h.Mode)&0o700|0o600)
	if err != nil {
		return "", coded(err)
	}
	digest, err := fill(ctx, f, in, h.Size)
	return hex.EncodeToString(digest), err
}

// checkSums compares what came with what was sent.
func checkSums(in io.Reader, size int64, got map[string]string) error {
	if size > maxSums {
		return fault.New(fault.TooLarge, "unpack: %d bytes of sums", size)
	}
	b, err := io.ReadAll(in)
	if err != nil {
		return fault.New(fault.DamagedFile, "unpack: %w", err)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		sum, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if got[path] != sum {
			return fault.New(fault.DamagedFile, "unpack %.100q: its sum is another one than was sent", path)
		}
		n++
	}
	if n != len(got) {
		return fault.New(fault.DamagedFile, "unpack: %d files came, %d were sent", len(got), n)
	}
	return nil
}

func syncDirs(root string) error {
	return filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return durable.SyncDir(path)
	})
}
