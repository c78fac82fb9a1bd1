package s3

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	aws3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"hearth/core/capability"
	"hearth/core/fault"
)

func TestWhoShowsNoKeyGetsNothing(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	s.put("town", "a", "x")
	put := func(c *aws3.Client, key string) error {
		_, err := c.PutObject(t.Context(), &aws3.PutObjectInput{Bucket: aws.String("town"), Key: &key, Body: strings.NewReader("evil")})
		return err
	}
	_, secret, err := s.keys.Secret(s.key.Access)
	if err != nil {
		t.Fatal(err)
	}
	s.want("SignatureDoesNotMatch", put(s.client(s.key.Access, "guessed", ""), "evil1"), "another secret")
	s.want("InvalidAccessKeyId", put(s.client("HEARTHAAAAAAAAAAAAAAAA", secret.Word(), ""), "evil2"), "another key")
	s.want("SignatureDoesNotMatch", put(s.client(owner, "guessed", ""), "evil3"), "the gateway's own root")
	r, err := http.Get("http://" + s.addr + "/town/a")
	if err != nil {
		t.Fatal(err)
	}
	if r.Body.Close(); r.StatusCode != http.StatusForbidden {
		t.Errorf("without a signature: %s", r.Status)
	}
	revoked, c := s.with()
	s.want("", put(c, "kept"), "before it is revoked")
	if err := s.keys.Remove(revoked.Access); err != nil {
		t.Fatal(err)
	}
	s.want("InvalidAccessKeyId", put(c, "evil4"), "a revoked key")
	s.empty("town", "evil")
}

func TestAForgedCapabilityOpensNothing(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	narrow := capability.Caveat{Kind: capability.Below, Text: "mine/"}
	key, _ := s.with(narrow)
	_, secret, err := s.keys.Secret(key.Access)
	if err != nil {
		t.Fatal(err)
	}
	put := func(c *aws3.Client, name string) string {
		_, err := c.PutObject(t.Context(), &aws3.PutObjectInput{Bucket: aws.String("town"), Key: &name, Body: strings.NewReader("x")})
		return codeOf(err)
	}
	token := func(c capability.Capability) string {
		w, err := Token(c)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	further := capability.Caveat{Kind: capability.Below, Text: "mine/now/"}
	narrower := key.Capability.Narrow(further)
	good := s.client(key.Access, secret.Narrow(further).Word(), token(narrower))
	if got := put(good, "mine/now/a"); got != "" {
		t.Errorf("what the holder narrowed: %s", got)
	}
	if got := put(good, "mine/a"); got != "AccessDenied" {
		t.Errorf("outside of what the holder narrowed: %q", got)
	}
	wide := capability.Capability{ID: key.Capability.ID}
	for name, c := range map[string]*aws3.Client{
		"caveats left out":            s.client(key.Access, secret.Word(), token(wide)),
		"another's name":              s.client(key.Access, secret.Word(), token(capability.Capability{ID: [16]byte{9}, Caveats: key.Capability.Caveats})),
		"narrowed without its secret": s.client(key.Access, secret.Word(), token(narrower)),
		"rubbish":                     s.client(key.Access, secret.Word(), "%%%"),
	} {
		if got := put(c, "evil/"+name); got == "" {
			t.Errorf("%s: it was let in", name)
		}
	}
	s.empty("town", "evil")

	// The file of keys says more than was given: another secret follows from it.
	path := filepath.Join(t.TempDir(), "keys.json")
	forged, err := OpenKeys(path, [32]byte{1}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	forged.access[key.Access] = Key{Access: key.Access, Capability: wide}
	forged.mu.Lock()
	if err := forged.write(); err != nil {
		t.Fatal(err)
	}
	forged.mu.Unlock()
	again, err := OpenKeys(path, [32]byte{1}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, got, err := again.Secret(key.Access); err != nil || got.Reveal() == secret.Reveal() {
		t.Errorf("a rewritten file gives the same secret: %v", err)
	}
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("the file of keys: %v, %v", i.Mode(), err)
	}
}

func TestAKeyReachesNoFurtherThanItsCaveats(t *testing.T) {
	s := stood(t)
	ctx := t.Context()
	s.bucket("town")
	s.bucket("village")
	s.put("town", "mine/a", "x")
	s.put("town", "other/a", "secret")
	s.put("village", "mine/a", "secret")
	_, c := s.with(capability.Caveat{Kind: capability.InBucket, Text: "town"}, capability.Caveat{Kind: capability.Below, Text: "mine/"})
	town := aws.String("town")
	type call struct {
		name string
		err  func() error
	}
	for _, tt := range []call{
		{"get beside", func() error {
			_, err := c.GetObject(ctx, &aws3.GetObjectInput{Bucket: town, Key: aws.String("other/a")})
			return err
		}},
		{"get elsewhere", func() error {
			_, err := c.GetObject(ctx, &aws3.GetObjectInput{Bucket: aws.String("village"), Key: aws.String("mine/a")})
			return err
		}},
		{"put beside", func() error {
			_, err := c.PutObject(ctx, &aws3.PutObjectInput{Bucket: town, Key: aws.String("other/evil"), Body: strings.NewReader("x")})
			return err
		}},
		{"put with dots", func() error {
			_, err := c.PutObject(ctx, &aws3.PutObjectInput{Bucket: town, Key: aws.String("mine/../other/evil"), Body: strings.NewReader("x")})
			if err == nil { // a key is taken as it stands: it begins with its prefix
				s.empty("town", "other/evil")
				return fmt.Errorf("AccessDenied")
			}
			return err
		}},
		{"delete beside", func() error {
			_, err := c.DeleteObject(ctx, &aws3.DeleteObjectInput{Bucket: town, Key: aws.String("other/a")})
			return err
		}},
		{"list all", func() error {
			_, err := c.ListObjectsV2(ctx, &aws3.ListObjectsV2Input{Bucket: town})
			return err
		}},
		{"list versions", func() error {
			_, err := c.ListObjectVersions(ctx, &aws3.ListObjectVersionsInput{Bucket: town, Prefix: aws.String("m")})
			return err
		}},
		{"list uploads", func() error {
			_, err := c.ListMultipartUploads(ctx, &aws3.ListMultipartUploadsInput{Bucket: town})
			return err
		}},
		{"copy from beside", func() error {
			_, err := c.CopyObject(ctx, &aws3.CopyObjectInput{Bucket: town, Key: aws.String("mine/evil"), CopySource: aws.String("town/other/a")})
			return err
		}},
		{"copy to beside", func() error {
			_, err := c.CopyObject(ctx, &aws3.CopyObjectInput{Bucket: town, Key: aws.String("other/evil"), CopySource: aws.String("town/mine/a")})
			return err
		}},
		{"begin an upload beside", func() error {
			_, err := c.CreateMultipartUpload(ctx, &aws3.CreateMultipartUploadInput{Bucket: town, Key: aws.String("other/evil")})
			return err
		}},
		{"tags beside", func() error {
			_, err := c.PutObjectTagging(ctx, &aws3.PutObjectTaggingInput{Bucket: town, Key: aws.String("other/a"), Tagging: &types.Tagging{TagSet: []types.Tag{}}})
			return err
		}},
		{"the bucket's policy", func() error {
			_, err := c.PutBucketPolicy(ctx, &aws3.PutBucketPolicyInput{Bucket: town, Policy: aws.String(anybody("town"))})
			return err
		}},
		{"its versions", func() error {
			_, err := c.PutBucketVersioning(ctx, &aws3.PutBucketVersioningInput{Bucket: town, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
			return err
		}},
		{"its lifecycle", func() error {
			_, err := c.DeleteBucketLifecycle(ctx, &aws3.DeleteBucketLifecycleInput{Bucket: town})
			return err
		}},
		{"a new bucket", func() error {
			_, err := c.CreateBucket(ctx, &aws3.CreateBucketInput{Bucket: aws.String("evil")})
			return err
		}},
		{"no bucket any more", func() error {
			_, err := c.DeleteBucket(ctx, &aws3.DeleteBucketInput{Bucket: town})
			return err
		}},
	} {
		s.want("AccessDenied", tt.err(), tt.name)
	}
	s.empty("town", "other/evil")
	s.empty("town", "mine/evil")
	got, err := c.GetObject(ctx, &aws3.GetObjectInput{Bucket: town, Key: aws.String("mine/a")})
	if err != nil || s.all(got.Body) != "x" {
		t.Errorf("what is its own: %v", err)
	}
	list, err := c.ListObjectsV2(ctx, &aws3.ListObjectsV2Input{Bucket: town, Prefix: aws.String("mine/")})
	if err != nil || len(list.Contents) != 2 { // with the one with dots in its name
		t.Errorf("its own names: %+v, %v", list, err)
	}
	buckets, err := c.ListBuckets(ctx, &aws3.ListBucketsInput{})
	if err != nil || len(buckets.Buckets) != 1 {
		t.Errorf("its own buckets: %+v, %v", buckets, err)
	}
	many, err := c.DeleteObjects(ctx, &aws3.DeleteObjectsInput{Bucket: town, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("other/a")}}}})
	if err != nil || len(many.Errors) != 1 || s.get("town", "other/a") != "secret" {
		t.Errorf("many beside: %+v, %v", many, err)
	}
	_, reads := s.with(capability.Caveat{Kind: capability.Only, Number: int64(capability.ReadOnly)})
	_, err = reads.PutObject(ctx, &aws3.PutObjectInput{Bucket: town, Key: aws.String("evil"), Body: strings.NewReader("x")})
	s.want("AccessDenied", err, "put with a key that reads")
	_, err = reads.DeleteObject(ctx, &aws3.DeleteObjectInput{Bucket: town, Key: aws.String("mine/a")})
	s.want("AccessDenied", err, "delete with a key that reads")
	_, err = reads.GetObject(ctx, &aws3.GetObjectInput{Bucket: town, Key: aws.String("mine/a")})
	s.want("", err, "get with a key that reads")
	// A bucket's policy doesn't give back what a key has lost.
	_, err = s.aws.PutBucketPolicy(ctx, &aws3.PutBucketPolicyInput{Bucket: town, Policy: aws.String(anybody("town"))})
	s.want("", err, "a policy for everybody")
	_, err = c.GetObject(ctx, &aws3.GetObjectInput{Bucket: town, Key: aws.String("other/a")})
	s.want("AccessDenied", err, "get beside, with a policy for everybody")
}

func anybody(bucket string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::` + bucket + `/*"}]}`
}

func TestAQuotaIsNotPassed(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	_, c := s.with(capability.Caveat{Kind: capability.InBucket, Text: "town"}, capability.Caveat{Kind: capability.Quota, Number: 250_000})
	put := func(key string, n int) error {
		_, err := c.PutObject(t.Context(), &aws3.PutObjectInput{Bucket: aws.String("town"), Key: &key, Body: bytes.NewReader(noise(n))})
		return err
	}
	s.want("", put("a", 100_000), "within")
	s.want("QuotaExceeded", put("evil", 150_001), "past it")
	s.want("", put("b", 150_000), "to its last byte")
	s.want("QuotaExceeded", put("evil", 1), "a byte more")
	_, err := c.CopyObject(t.Context(), &aws3.CopyObjectInput{Bucket: aws.String("town"), Key: aws.String("evil"), CopySource: aws.String("town/a")})
	s.want("QuotaExceeded", err, "a copy")
	up, err := c.CreateMultipartUpload(t.Context(), &aws3.CreateMultipartUploadInput{Bucket: aws.String("town"), Key: aws.String("evil")})
	s.want("", err, "begin")
	_, err = c.UploadPart(t.Context(), &aws3.UploadPartInput{Bucket: aws.String("town"), Key: aws.String("evil"), UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("x")})
	s.want("QuotaExceeded", err, "a part")
	s.empty("town", "evil")
	_, err = c.DeleteObject(t.Context(), &aws3.DeleteObjectInput{Bucket: aws.String("town"), Key: aws.String("a")})
	s.want("", err, "make room")
	var wg sync.WaitGroup
	var mu sync.Mutex
	stored := 0
	for i := range 6 {
		wg.Go(func() {
			if put(fmt.Sprint("race", i), 40_000) == nil {
				mu.Lock()
				stored++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if stored != 2 {
		t.Errorf("%d of 6 puts that raced found room for 2", stored)
	}
}

// A token narrows a key with a quota; its bytes count in what the key reaches.
func TestAQuotaIsNotPassedByTokens(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	key, _ := s.with(capability.Caveat{Kind: capability.InBucket, Text: "town"}, capability.Caveat{Kind: capability.Quota, Number: 250_000})
	_, secret, err := s.keys.Secret(key.Access)
	if err != nil {
		t.Fatal(err)
	}
	put := func(prefix string, n int, more ...capability.Caveat) error {
		c, w := key.Capability, secret
		for _, v := range append([]capability.Caveat{{Kind: capability.Below, Text: prefix}}, more...) {
			c, w = c.Narrow(v), w.Narrow(v)
		}
		token, err := Token(c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.client(key.Access, w.Word(), token).PutObject(t.Context(), &aws3.PutObjectInput{
			Bucket: aws.String("town"), Key: aws.String(prefix + "a"), Body: bytes.NewReader(noise(n)),
		})
		return err
	}
	s.want("", put("one/", 150_000), "within")
	s.want("QuotaExceeded", put("two/", 150_000), "of another token")
	s.want("", put("two/", 90_000, capability.Caveat{Kind: capability.Quota, Number: 100_000}), "within both")
	s.want("QuotaExceeded", put("three/", 9_000, capability.Caveat{Kind: capability.Quota, Number: 8_000}), "past the token's own")
	s.want("", put("three/", 8_000, capability.Caveat{Kind: capability.Quota, Number: 8_000}), "to its last byte")
	s.want("QuotaExceeded", put("three/", 3_000, capability.Caveat{Kind: capability.Quota, Number: 20_000}), "past the key's")
	s.empty("town", "evil")
}

func TestScopesThatNobodyUsesAreForgotten(t *testing.T) {
	s := stood(t)
	q := newQuotas(s.files.Index(), time.Now)
	kept, err := q.reserve(t.Context(), scope{"town", "kept/"}, 10, 10)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 * maxScopes {
		r, err := q.reserve(t.Context(), scope{"town", fmt.Sprint(i)}, 10, 1)
		if err != nil {
			t.Fatal(err)
		}
		r.settle(false, 0)
	}
	if len(q.used) > maxScopes {
		t.Errorf("%d scopes are remembered", len(q.used))
	}
	if _, err := q.reserve(t.Context(), scope{"town", "kept/"}, 10, 1); codeOf(err) == "" {
		t.Error("what is on its way was forgotten")
	}
	kept.settle(false, 0)
}

func TestAHiddenBucketIsNotThere(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	if _, err := s.files.Hidden(".own").Keep(t.Context(), "a", strings.NewReader("secret")); err != nil {
		t.Fatal(err)
	}
	_, err := s.aws.CopyObject(t.Context(), &aws3.CopyObjectInput{Bucket: aws.String("town"), Key: aws.String("evil"), CopySource: aws.String(".own/a")})
	s.want("InvalidArgument", err, "as a copy's source")
	s.empty("town", "evil")
}

// What `hearth share --write` gives out: a slot to throw things in.
func TestAKeyForWritingNeitherReadsNorRemoves(t *testing.T) {
	s := stood(t)
	town := s.bucket("town")
	ctx := t.Context()
	s.put("town", "in/old", "old")
	until := time.Now().Unix() + 3600
	caveats := []capability.Caveat{
		{Kind: capability.InBucket, Text: "town"},
		{Kind: capability.Below, Text: "in/"},
		{Kind: capability.Only, Number: int64(capability.Write)},
		{Kind: capability.Quota, Number: 100},
		{Kind: capability.Until, Number: until},
	}
	_, c := s.with(caveats...)
	put := func(c *aws3.Client, key, body string) error {
		_, err := c.PutObject(ctx, &aws3.PutObjectInput{Bucket: town, Key: &key, Body: strings.NewReader(body)})
		return err
	}
	s.want("", put(c, "in/new", "new"), "below the prefix")
	s.want("AccessDenied", put(c, "out", "x"), "beside it")
	s.want("AccessDenied", put(c, "in", "x"), "above it")
	s.want("QuotaExceeded", put(c, "in/much", strings.Repeat("x", 100)), "past the quota")
	_, err := c.GetObject(ctx, &aws3.GetObjectInput{Bucket: town, Key: aws.String("in/new")})
	s.want("AccessDenied", err, "read")
	_, err = c.ListObjectsV2(ctx, &aws3.ListObjectsV2Input{Bucket: town, Prefix: aws.String("in/")})
	s.want("AccessDenied", err, "list")
	_, err = c.DeleteObject(ctx, &aws3.DeleteObjectInput{Bucket: town, Key: aws.String("in/old")})
	s.want("AccessDenied", err, "remove")
	_, err = c.CopyObject(ctx, &aws3.CopyObjectInput{Bucket: town, Key: aws.String("in/copy"), CopySource: aws.String("town/in/old")})
	s.want("AccessDenied", err, "copy what it can't read")
	caveats[len(caveats)-1].Number = until - 7200
	_, late := s.with(caveats...)
	if put(late, "in/late", "x") == nil {
		t.Error("it writes after its end")
	}
	for _, key := range []string{"in/late", "in/much", "in/copy", "out"} {
		s.empty("town", key)
	}
}

func TestLinksEnd(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	s.put("town", "a", "hello")
	p := aws3.NewPresignClient(s.aws)
	fetch := func(method, url, body string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return a.StatusCode, s.all(a.Body)
	}
	get, err := p.PresignGetObject(t.Context(), &aws3.GetObjectInput{Bucket: aws.String("town"), Key: aws.String("a")}, aws3.WithPresignExpires(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if code, body := fetch("GET", get.URL, ""); code != 200 || body != "hello" {
		t.Errorf("a link: %d %s", code, body)
	}
	if code, _ := fetch("GET", strings.Replace(get.URL, "/a?", "/b?", 1), ""); code != 403 {
		t.Errorf("a link for another object: %d", code)
	}
	put, err := p.PresignPutObject(t.Context(), &aws3.PutObjectInput{Bucket: aws.String("town"), Key: aws.String("put")}, aws3.WithPresignExpires(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if code, body := fetch("PUT", put.URL, "by link"); code != 200 || s.get("town", "put") != "by link" {
		t.Errorf("a link to put: %d %s", code, body)
	}
	short, err := p.PresignPutObject(t.Context(), &aws3.PutObjectInput{Bucket: aws.String("town"), Key: aws.String("evil")}, aws3.WithPresignExpires(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	code, body := 200, ""
	time.Sleep(2 * time.Second) // the link lasts one, by the clock of the request
	for ends := time.Now().Add(time.Minute); code == 200 && time.Now().Before(ends); {
		code, body = fetch("PUT", short.URL, "late")
	}
	if code != 403 || !strings.Contains(body, "expired") {
		t.Errorf("a link that has ended: %d %s", code, body)
	}
	s.empty("town", "evil")
	// A key that has ended, and what it signed ahead.
	at := time.Now()
	s2 := standing(t, func(c *Config) { c.Now = func() time.Time { return at } })
	s2.bucket("town")
	_, c := s2.with(capability.Caveat{Kind: capability.Until, Number: at.Unix() + 10})
	s2.want("", func() error {
		_, err := c.PutObject(t.Context(), &aws3.PutObjectInput{Bucket: aws.String("town"), Key: aws.String("in-time"), Body: strings.NewReader("x")})
		return err
	}(), "before its end")
	link, err := aws3.NewPresignClient(c).PresignGetObject(t.Context(), &aws3.GetObjectInput{Bucket: aws.String("town"), Key: aws.String("in-time")})
	if err != nil {
		t.Fatal(err)
	}
	at = at.Add(11 * time.Second)
	_, err = c.PutObject(t.Context(), &aws3.PutObjectInput{Bucket: aws.String("town"), Key: aws.String("evil"), Body: strings.NewReader("x")})
	s2.want("AccessDenied", err, "after its end")
	if code, _ := fetch("GET", link.URL, ""); code != 403 {
		t.Errorf("a link of a key that has ended: %d", code)
	}
	s2.empty("town", "evil")
}

func TestChecksums(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	body := noise(300_000)
	for _, algo := range []types.ChecksumAlgorithm{
		types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmCrc32c, types.ChecksumAlgorithmCrc64nvme, types.ChecksumAlgorithmSha1, types.ChecksumAlgorithmSha256,
	} {
		out, err := s.aws.PutObject(t.Context(), &aws3.PutObjectInput{Bucket: aws.String("town"), Key: aws.String("a"), Body: bytes.NewReader(body), ChecksumAlgorithm: algo})
		s.want("", err, string(algo))
		h, err := s.aws.HeadObject(t.Context(), &aws3.HeadObjectInput{Bucket: aws.String("town"), Key: aws.String("a"), ChecksumMode: types.ChecksumModeEnabled})
		if err != nil || h.ChecksumType != types.ChecksumTypeFullObject {
			t.Errorf("%s: %+v, %v", algo, h, err)
			continue
		}
		for i, v := range []*string{h.ChecksumCRC32, h.ChecksumCRC32C, h.ChecksumCRC64NVME, h.ChecksumSHA1, h.ChecksumSHA256} {
			if (v != nil) != (algorithms[i] == algo) {
				t.Errorf("%s: kept %v as %s", algo, v, algorithms[i])
			}
		}
		_ = out
	}
	sum := sha256.Sum256([]byte("something else"))
	wrong := base64.StdEncoding.EncodeToString(sum[:])
	for name, in := range map[string]aws3.PutObjectInput{
		"SHA-256": {ChecksumSHA256: &wrong},
		"CRC32":   {ChecksumCRC32: aws.String("AAAAAA==")},
		"MD5":     {ContentMD5: aws.String("AAAAAAAAAAAAAAAAAAAAAA==")},
	} {
		for _, n := range []int{10, 300_000} {
			in.Bucket, in.Key, in.Body = aws.String("town"), aws.String("evil"), bytes.NewReader(body[:n])
			_, err := s.aws.PutObject(t.Context(), &in)
			s.want("BadDigest", err, name+" of another body")
		}
	}
	s.empty("town", "evil")
}

func TestAWrongTrailerStoresNothing(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	// The body is changed on its way, behind the signature over its trailer.
	c := s.client(s.key.Access, s.secret(), "", func(o *aws3.Options) {
		o.HTTPClient = &http.Client{Transport: flipping{}}
		o.BaseEndpoint = aws.String("http://" + s.addr)
	})
	_, err := c.PutObject(t.Context(), &aws3.PutObjectInput{Bucket: aws.String("town"), Key: aws.String("evil"), Body: bytes.NewReader(noise(200_000)), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
	if codeOf(err) == "" {
		t.Error("a changed body was stored")
	}
	s.empty("town", "evil")
}

func (s *stand) secret() string {
	_, secret, err := s.keys.Secret(s.key.Access)
	if err != nil {
		s.t.Fatal(err)
	}
	return secret.Word()
}

// flipping changes a bit in the middle of what is sent.
type flipping struct{}

func (flipping) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Method == http.MethodPut {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		if len(b) > 1000 {
			b[len(b)/2] ^= 1
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
	}
	return http.DefaultTransport.RoundTrip(r)
}

func TestATruncatedUploadStoresNothing(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	for _, size := range []int{1000, 2 << 20} {
		key := fmt.Sprint("evil", size)
		p, err := aws3.NewPresignClient(s.aws).PresignPutObject(t.Context(), &aws3.PutObjectInput{Bucket: aws.String("town"), Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		path := p.URL[strings.Index(p.URL, "/town"):]
		fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", path, s.addr, size)
		if _, err := conn.Write(noise(size / 2)); err != nil {
			t.Fatal(err)
		}
		conn.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(conn) // it may just hang up
		conn.Close()
		if bytes.Contains(answer, []byte("200 OK")) {
			t.Errorf("half of %d bytes: %s", size, answer)
		}
	}
	s.empty("town", "evil")
}

func TestOfTwoWritersThatRaceOneStores(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	for round := range 8 {
		key := fmt.Sprint("new", round)
		codes := make([]string, 4)
		var wg sync.WaitGroup
		for i := range codes {
			wg.Go(func() {
				_, err := s.aws.PutObject(t.Context(), &aws3.PutObjectInput{
					Bucket: aws.String("town"), Key: &key, Body: strings.NewReader(fmt.Sprint("writer ", i)), IfNoneMatch: aws.String("*"),
				})
				codes[i] = codeOf(err)
			})
		}
		wg.Wait()
		won := -1
		for i, c := range codes {
			switch c {
			case "":
				if won >= 0 {
					t.Errorf("round %d: %v", round, codes)
				}
				won = i
			case "PreconditionFailed":
			default:
				t.Errorf("round %d: %s", round, c)
			}
		}
		if won < 0 || s.get("town", key) != fmt.Sprint("writer ", won) {
			t.Errorf("round %d: %v", round, codes)
		}
	}
	first := s.put("town", "a", "1")
	second, err := s.aws.PutObject(t.Context(), &aws3.PutObjectInput{Bucket: aws.String("town"), Key: aws.String("a"), Body: strings.NewReader("2"), IfMatch: first.ETag})
	s.want("", err, "replace what is known")
	_, err = s.aws.PutObject(t.Context(), &aws3.PutObjectInput{Bucket: aws.String("town"), Key: aws.String("a"), Body: strings.NewReader("3"), IfMatch: first.ETag})
	s.want("PreconditionFailed", err, "replace what was replaced")
	_, err = s.aws.PutObject(t.Context(), &aws3.PutObjectInput{Bucket: aws.String("town"), Key: aws.String("evil"), Body: strings.NewReader("3"), IfMatch: first.ETag})
	s.want("NoSuchKey", err, "replace what isn't there")
	_, err = s.aws.PutObject(t.Context(), &aws3.PutObjectInput{Bucket: aws.String("town"), Key: aws.String("a"), Body: strings.NewReader("3"), IfNoneMatch: aws.String("*")})
	s.want("PreconditionFailed", err, "make what is there")
	if s.get("town", "a") != "2" || *second.ETag == *first.ETag {
		t.Error("a refused write was stored")
	}
	s.empty("town", "evil")
}

func TestKeysAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	k, err := OpenKeys(path, [32]byte{3}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	key, secret, err := k.Add("backup", capability.Caveat{Kind: capability.InBucket, Text: "town"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || bytes.Contains(text, []byte(secret.Word())) {
		t.Errorf("the file tells the secret: %v", err)
	}
	again, err := OpenKeys(path, [32]byte{3}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	got, s2, err := again.Secret("backup")
	if err != nil || got.Access != key.Access || s2.Reveal() != secret.Reveal() || got.Capability.Limits().Bucket != "town" {
		t.Errorf("read back: %+v, %v", got, err)
	}
	if err := os.WriteFile(path, []byte(`{"major":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeys(path, [32]byte{3}, time.Now); fault.CodeOf(err) != fault.UnknownFormat {
		t.Errorf("a later format: %v", err)
	}
}
