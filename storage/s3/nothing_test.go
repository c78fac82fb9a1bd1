package s3

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	aws3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"hearth/core/capability"
	"hearth/storage/index"
)

// What the door refuses leaves nothing: no version, no part, and no byte under a
// statement at any host, though the bytes were on their way.
func TestWhatIsRefusedLeavesNothing(t *testing.T) {
	at := time.Now()
	s := standing(t, func(c *Config) { c.Now = func() time.Time { return at } })
	ctx, town := t.Context(), s.bucket("town")
	_, err := s.aws.PutBucketVersioning(ctx, &aws3.PutBucketVersioningInput{
		Bucket: town, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	s.want("", err, "keep versions")
	body := noise(300_000)
	first, err := s.aws.PutObject(ctx, &aws3.PutObjectInput{Bucket: town, Key: aws.String("a"), Body: bytes.NewReader(body)})
	s.want("", err, "put")
	sum := sha256.Sum256([]byte("something else"))
	wrong := base64.StdEncoding.EncodeToString(sum[:])
	up, err := s.aws.CreateMultipartUpload(ctx, &aws3.CreateMultipartUploadInput{Bucket: town, Key: aws.String("parts")})
	s.want("", err, "begin an upload")
	before := s.town.stored()

	put := func(c *aws3.Client, change func(in *aws3.PutObjectInput)) error {
		in := &aws3.PutObjectInput{Bucket: town, Key: aws.String("evil"), Body: bytes.NewReader(body)}
		change(in)
		_, err := c.PutObject(ctx, in)
		return err
	}
	plain := func(*aws3.PutObjectInput) {}
	_, below := s.with(capability.Caveat{Kind: capability.Below, Text: "mine/"})
	_, small := s.with(capability.Caveat{Kind: capability.Quota, Number: 299_999})
	_, ended := s.with(capability.Caveat{Kind: capability.Until, Number: at.Unix() - 1})
	narrow, secret, err := s.keys.Add("", capability.Caveat{Kind: capability.Below, Text: "mine/"})
	if err != nil {
		t.Fatal(err)
	}
	wide, err := Token(capability.Capability{ID: narrow.Capability.ID})
	if err != nil {
		t.Fatal(err)
	}
	flipped := s.client(s.key.Access, s.secret(), "", func(o *aws3.Options) { o.HTTPClient = &http.Client{Transport: flipping{}} })
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"a forged capability", put(s.client(narrow.Access, secret.Word(), wide), plain)},
		{"a key that has ended", put(ended, plain)},
		{"outside of the prefix", put(below, plain)},
		{"past the quota", put(small, plain)},
		{"a wrong SHA-256", put(s.aws, func(in *aws3.PutObjectInput) { in.ChecksumSHA256 = &wrong })},
		{"a wrong MD5", put(s.aws, func(in *aws3.PutObjectInput) { in.ContentMD5 = aws.String("AAAAAAAAAAAAAAAAAAAAAA==") })},
		{"a wrong trailer", put(flipped, func(in *aws3.PutObjectInput) { in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32 })},
		{"made though it is there", put(s.aws, func(in *aws3.PutObjectInput) { in.Key, in.IfNoneMatch = aws.String("a"), aws.String("*") })},
		{"in the place of another", put(s.aws, func(in *aws3.PutObjectInput) { in.Key, in.IfMatch = aws.String("a"), aws.String(`"other"`) })},
		{"a part with a wrong checksum", func() error {
			_, err := s.aws.UploadPart(ctx, &aws3.UploadPartInput{
				Bucket: town, Key: aws.String("parts"), UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(body), ChecksumSHA256: &wrong,
			})
			return err
		}()},
		{"half of its bytes", s.half("town", "evil", body)},
	} {
		if tt.err == nil {
			t.Errorf("%s: it was stored", tt.name)
		}
	}

	page, err := s.files.Index().ListVersions(ctx, "town", index.VersionListing{})
	if err != nil || len(page.Versions) != 1 || page.Versions[0].Key != "a" || s.get("town", "a") != string(body) {
		t.Errorf("%+v, %v", page.Versions, err)
	}
	parts, err := s.aws.ListParts(ctx, &aws3.ListPartsInput{Bucket: town, Key: aws.String("parts"), UploadId: up.UploadId})
	if err != nil || len(parts.Parts) > 0 {
		t.Errorf("%d parts, %v", len(parts.Parts), err)
	}
	s.freed(before)

	// Of writers that know the same version one replaces it, and the others' bytes go.
	var mu sync.Mutex
	var wg sync.WaitGroup
	codes := map[string]int{}
	for i := range 4 {
		wg.Go(func() {
			_, err := s.aws.PutObject(ctx, &aws3.PutObjectInput{
				Bucket: town, Key: aws.String("a"), Body: bytes.NewReader(noise(300_001 + i)), IfMatch: first.ETag,
			})
			mu.Lock()
			defer mu.Unlock()
			codes[codeOf(err)]++
		})
	}
	wg.Wait()
	if codes[""] != 1 || codes["PreconditionFailed"] != 3 {
		t.Errorf("four that replace one version: %v", codes)
	}
	if page, err = s.files.Index().ListVersions(ctx, "town", index.VersionListing{}); err != nil || len(page.Versions) != 2 {
		t.Errorf("%+v, %v", page.Versions, err)
	}
	s.freed(before + before + 6*64)
}

// half sends half of a body and ends the connection. The error is what came back.
func (s *stand) half(bucket, key string, body []byte) error {
	s.t.Helper()
	p, err := aws3.NewPresignClient(s.aws).PresignPutObject(s.t.Context(), &aws3.PutObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", p.URL[strings.Index(p.URL, "/"+bucket):], s.addr, len(body))
	if _, err := conn.Write(body[:len(body)/2]); err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err == nil && !bytes.Contains(answer, []byte("200 OK")) {
		err = fmt.Errorf("answered: %q", answer)
	}
	return err
}

// freed waits until hosts hold no more than most bytes under statements.
func (s *stand) freed(most uint64) {
	s.t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		s.files.Work(s.t.Context())
		n := s.town.stored()
		if n <= most {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("%d bytes are under statements, %d should be", n, most)
		}
	}
}
