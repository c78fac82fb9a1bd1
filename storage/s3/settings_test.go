package s3

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	aws3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"hearth/core/capability"
)

// ask sends a plain request; host stands in the Host header where it is given.
func (s *stand) ask(method, host, path string, headers ...string) *http.Response {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.addr+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Host = host
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	plain := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	a, err := plain.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func TestTags(t *testing.T) {
	s := stood(t)
	town := s.bucket("town")
	ctx := t.Context()
	tags := &types.Tagging{TagSet: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}}}
	_, err := s.aws.GetBucketTagging(ctx, &aws3.GetBucketTaggingInput{Bucket: town})
	s.want("NoSuchTagSet", err, "of a bucket without")
	_, err = s.aws.PutBucketTagging(ctx, &aws3.PutBucketTaggingInput{Bucket: town, Tagging: tags})
	s.want("", err, "put on a bucket")
	b, err := s.aws.GetBucketTagging(ctx, &aws3.GetBucketTaggingInput{Bucket: town})
	if err != nil || len(b.TagSet) != 1 || *b.TagSet[0].Value != "1" {
		t.Errorf("bucket: %+v, %v", b, err)
	}
	_, err = s.aws.DeleteBucketTagging(ctx, &aws3.DeleteBucketTaggingInput{Bucket: town})
	s.want("", err, "delete from a bucket")
	s.put("town", "a", "x")
	_, err = s.aws.PutObjectTagging(ctx, &aws3.PutObjectTaggingInput{Bucket: town, Key: aws.String("a"), Tagging: tags})
	s.want("", err, "put on an object")
	o, err := s.aws.GetObjectTagging(ctx, &aws3.GetObjectTaggingInput{Bucket: town, Key: aws.String("a")})
	if err != nil || len(o.TagSet) != 1 || *o.TagSet[0].Key != "a" {
		t.Errorf("object: %+v, %v", o, err)
	}
	_, err = s.aws.DeleteObjectTagging(ctx, &aws3.DeleteObjectTaggingInput{Bucket: town, Key: aws.String("a")})
	s.want("", err, "delete from an object")
	if o, err = s.aws.GetObjectTagging(ctx, &aws3.GetObjectTaggingInput{Bucket: town, Key: aws.String("a")}); err != nil || len(o.TagSet) != 0 {
		t.Errorf("after: %+v, %v", o, err)
	}
	_, err = s.aws.GetObjectTagging(ctx, &aws3.GetObjectTaggingInput{Bucket: town, Key: aws.String("none")})
	s.want("NoSuchKey", err, "of none")
}

func TestCORS(t *testing.T) {
	s := stood(t)
	town := s.bucket("town")
	ctx := t.Context()
	_, err := s.aws.GetBucketCors(ctx, &aws3.GetBucketCorsInput{Bucket: town})
	s.want("NoSuchCORSConfiguration", err, "without")
	_, err = s.aws.PutBucketCors(ctx, &aws3.PutBucketCorsInput{Bucket: town, CORSConfiguration: &types.CORSConfiguration{CORSRules: []types.CORSRule{{
		AllowedMethods: []string{"GET"}, AllowedOrigins: []string{"http://page.example"}, AllowedHeaders: []string{"*"}, ExposeHeaders: []string{"ETag"}, MaxAgeSeconds: aws.Int32(5),
	}}}})
	s.want("", err, "put")
	got, err := s.aws.GetBucketCors(ctx, &aws3.GetBucketCorsInput{Bucket: town})
	if err != nil || len(got.CORSRules) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	a := s.ask("OPTIONS", "", "/town/a", "Origin", "http://page.example", "Access-Control-Request-Method", "GET")
	if s.all(a.Body); a.StatusCode != 200 || a.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("preflight: %s %v", a.Status, a.Header)
	}
	a = s.ask("OPTIONS", "", "/town/a", "Origin", "http://other.example", "Access-Control-Request-Method", "GET")
	if s.all(a.Body); a.StatusCode != 403 {
		t.Errorf("preflight of another page: %s", a.Status)
	}
	_, err = s.aws.DeleteBucketCors(ctx, &aws3.DeleteBucketCorsInput{Bucket: town})
	s.want("", err, "delete")
}

func TestPolicies(t *testing.T) {
	s := stood(t)
	town := s.bucket("town")
	ctx := t.Context()
	s.put("town", "open/a", "hello")
	s.put("town", "closed/a", "secret")
	_, err := s.aws.GetBucketPolicy(ctx, &aws3.GetBucketPolicyInput{Bucket: town})
	s.want("NoSuchBucketPolicy", err, "without")
	_, err = s.aws.PutBucketPolicy(ctx, &aws3.PutBucketPolicyInput{Bucket: town, Policy: aws.String(`{"nonsense":1}`)})
	s.want("MalformedPolicy", err, "nonsense")
	key, c := s.with(capability.Caveat{Kind: capability.InBucket, Text: "town"})
	policy := `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::town/open/*"},
		{"Effect":"Deny","Principal":{"AWS":["` + key.Access + `"]},"Action":"s3:GetObject","Resource":"arn:aws:s3:::town/closed/*"}]}`
	_, err = s.aws.PutBucketPolicy(ctx, &aws3.PutBucketPolicyInput{Bucket: town, Policy: &policy})
	s.want("", err, "put")
	if a := s.ask("GET", "", "/town/open/a"); a.StatusCode != 200 || s.all(a.Body) != "hello" {
		t.Errorf("everybody, where it is open: %s", a.Status)
	}
	if a := s.ask("GET", "", "/town/closed/a"); a.StatusCode != 403 || strings.Contains(s.all(a.Body), "secret") {
		t.Errorf("everybody, where it is closed: %s", a.Status)
	}
	if a := s.ask("PUT", "", "/town/open/evil"); a.StatusCode != 403 {
		t.Errorf("everybody writes: %s", a.Status)
	}
	_, err = c.GetObject(ctx, &aws3.GetObjectInput{Bucket: town, Key: aws.String("closed/a")})
	s.want("AccessDenied", err, "a key that the policy denies")
	_, err = c.GetObject(ctx, &aws3.GetObjectInput{Bucket: town, Key: aws.String("open/a")})
	s.want("", err, "a key that the policy leaves alone")
	got, err := s.aws.GetBucketPolicy(ctx, &aws3.GetBucketPolicyInput{Bucket: town})
	if err != nil || *got.Policy != policy {
		t.Errorf("%+v, %v", got, err)
	}
	open, err := s.aws.GetBucketPolicyStatus(ctx, &aws3.GetBucketPolicyStatusInput{Bucket: town})
	if err != nil || !*open.PolicyStatus.IsPublic {
		t.Errorf("status: %+v, %v", open, err)
	}
	_, err = s.aws.DeleteBucketPolicy(ctx, &aws3.DeleteBucketPolicyInput{Bucket: town})
	s.want("", err, "delete")
	if a := s.ask("GET", "", "/town/open/a"); a.StatusCode != 403 {
		t.Errorf("without a policy: %s", a.Status)
	}
	s.empty("town", "open/evil")
}

// form is a browser's upload, signed by hand.
func (s *stand) form(access, secret, key, within, body string) *http.Response {
	s.t.Helper()
	now := time.Now().UTC()
	day := now.Format("20060102")
	credential := access + "/" + day + "/" + DefaultRegion + "/s3/aws4_request"
	policy := base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf(`{"expiration":%q,"conditions":[{"bucket":"town"},["starts-with","$key",%q],
		{"x-amz-algorithm":"AWS4-HMAC-SHA256"},{"x-amz-credential":%q},{"x-amz-date":%q},["content-length-range",0,1000]]}`,
		now.Add(time.Minute).Format(time.RFC3339), within, credential, now.Format("20060102T150405Z"))))
	step := []byte("AWS4" + secret)
	for _, w := range []string{day, DefaultRegion, "s3", "aws4_request", policy} {
		h := hmac.New(sha256.New, step)
		h.Write([]byte(w))
		step = h.Sum(nil)
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range [][2]string{
		{"key", key},
		{"policy", policy},
		{"x-amz-algorithm", "AWS4-HMAC-SHA256"},
		{"x-amz-credential", credential},
		{"x-amz-date", now.Format("20060102T150405Z")},
		{"x-amz-signature", hex.EncodeToString(step)},
	} {
		if err := w.WriteField(f[0], f[1]); err != nil {
			s.t.Fatal(err)
		}
	}
	part, err := w.CreateFormFile("file", "a.txt")
	if err != nil {
		s.t.Fatal(err)
	}
	fmt.Fprint(part, body)
	w.Close()
	r, err := http.Post("http://"+s.addr+"/town", w.FormDataContentType(), &b)
	if err != nil {
		s.t.Fatal(err)
	}
	s.all(r.Body)
	return r
}

func TestBrowserForms(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	if r := s.form(s.key.Access, s.secret(), "in/a", "in/", "from a browser"); r.StatusCode != 204 || s.get("town", "in/a") != "from a browser" {
		t.Errorf("a form: %s", r.Status)
	}
	if r := s.form(s.key.Access, s.secret(), "evil", "in/", "x"); r.StatusCode != 403 {
		t.Errorf("against its policy: %s", r.Status)
	}
	if r := s.form(s.key.Access, "guessed", "in/evil", "in/", "x"); r.StatusCode != 403 {
		t.Errorf("with another secret: %s", r.Status)
	}
	if r := s.form(s.key.Access, s.secret(), "in/evil", "in/", strings.Repeat("x", 2000)); r.StatusCode != 400 {
		t.Errorf("too long: %s", r.Status)
	}
	narrow, _ := s.with(capability.Caveat{Kind: capability.Below, Text: "mine/"})
	_, secret, err := s.keys.Secret(narrow.Access)
	if err != nil {
		t.Fatal(err)
	}
	if r := s.form(narrow.Access, secret.Word(), "in/evil", "in/", "x"); r.StatusCode != 403 {
		t.Errorf("outside of the key's prefix: %s", r.Status)
	}
	s.empty("town", "evil")
	s.empty("town", "in/evil")
}

func TestLocks(t *testing.T) {
	s := stood(t)
	ctx, town, key := t.Context(), aws.String("town"), aws.String("a")
	_, err := s.aws.CreateBucket(ctx, &aws3.CreateBucketInput{Bucket: town, ObjectLockEnabledForBucket: aws.Bool(true)})
	s.want("", err, "a bucket with locks")
	_, err = s.aws.PutBucketVersioning(ctx, &aws3.PutBucketVersioningInput{Bucket: town, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended}})
	s.want("InvalidBucketState", err, "no versions with locks")
	_, err = s.aws.PutObjectLockConfiguration(ctx, &aws3.PutObjectLockConfigurationInput{Bucket: town, ObjectLockConfiguration: &types.ObjectLockConfiguration{
		ObjectLockEnabled: types.ObjectLockEnabledEnabled,
		Rule:              &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeGovernance, Days: aws.Int32(1)}},
	}})
	s.want("", err, "a usual retention")
	got, err := s.aws.GetObjectLockConfiguration(ctx, &aws3.GetObjectLockConfigurationInput{Bucket: town})
	if err != nil || *got.ObjectLockConfiguration.Rule.DefaultRetention.Days != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	one := s.put("town", "a", "one")
	remove := func(v *string, bypass bool) error {
		_, err := s.aws.DeleteObject(ctx, &aws3.DeleteObjectInput{Bucket: town, Key: key, VersionId: v, BypassGovernanceRetention: &bypass})
		return err
	}
	r, err := s.aws.GetObjectRetention(ctx, &aws3.GetObjectRetentionInput{Bucket: town, Key: key})
	if err != nil || r.Retention.Mode != types.ObjectLockRetentionModeGovernance || time.Until(*r.Retention.RetainUntilDate) < 23*time.Hour {
		t.Errorf("the usual retention of an object: %+v, %v", r, err)
	}
	s.want("AccessDenied", remove(one.VersionId, false), "remove what is retained")
	_, err = s.aws.PutObjectLegalHold(ctx, &aws3.PutObjectLegalHoldInput{Bucket: town, Key: key, LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOn}})
	s.want("", err, "hold")
	h, err := s.aws.GetObjectLegalHold(ctx, &aws3.GetObjectLegalHoldInput{Bucket: town, Key: key})
	if err != nil || h.LegalHold.Status != types.ObjectLockLegalHoldStatusOn {
		t.Errorf("hold: %+v, %v", h, err)
	}
	s.want("AccessDenied", remove(one.VersionId, true), "remove what is held")
	_, err = s.aws.PutObjectLegalHold(ctx, &aws3.PutObjectLegalHoldInput{Bucket: town, Key: key, LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOff}})
	s.want("", err, "no hold")
	s.want("", remove(one.VersionId, true), "end a governance retention early")
	two, err := s.aws.PutObject(ctx, &aws3.PutObjectInput{
		Bucket: town, Key: key, Body: strings.NewReader("two"), ObjectLockMode: types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: aws.Time(time.Now().Add(time.Hour)),
	})
	s.want("", err, "put under a compliance retention")
	s.want("AccessDenied", remove(two.VersionId, true), "end a compliance retention early")
	_, err = s.aws.PutObjectRetention(ctx, &aws3.PutObjectRetentionInput{
		Bucket: town, Key: key, BypassGovernanceRetention: aws.Bool(true),
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: aws.Time(time.Now().Add(time.Minute))},
	})
	s.want("AccessDenied", err, "shorten a compliance retention")
	_, err = s.aws.PutObjectRetention(ctx, &aws3.PutObjectRetentionInput{
		Bucket: town, Key: key,
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: aws.Time(time.Now().Add(2 * time.Hour))},
	})
	s.want("", err, "prolong it")
	s.bucket("free")
	_, err = s.aws.PutObject(ctx, &aws3.PutObjectInput{Bucket: aws.String("free"), Key: key, Body: strings.NewReader("x"), ObjectLockLegalHoldStatus: types.ObjectLockLegalHoldStatusOn})
	s.want("InvalidRequest", err, "a hold where there are no locks")
	_, err = s.aws.GetObjectLockConfiguration(ctx, &aws3.GetObjectLockConfigurationInput{Bucket: aws.String("free")})
	s.want("ObjectLockConfigurationNotFoundError", err, "no locks")
}

func TestLifecycles(t *testing.T) {
	at := time.Now()
	var d *Door
	s := standing(t, func(c *Config) { c.Now = func() time.Time { return at } })
	d, err := New(Config{Files: s.files, Index: s.files.Index(), Keys: s.keys, Owner: owner, Listen: "127.0.0.1:1", Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	town := s.bucket("town")
	ctx := t.Context()
	_, err = s.aws.GetBucketLifecycleConfiguration(ctx, &aws3.GetBucketLifecycleConfigurationInput{Bucket: town})
	s.want("NoSuchLifecycleConfiguration", err, "without")
	put := func(rules ...types.LifecycleRule) error {
		_, err := s.aws.PutBucketLifecycleConfiguration(ctx, &aws3.PutBucketLifecycleConfigurationInput{Bucket: town, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: rules}})
		return err
	}
	s.want("NotImplemented", put(types.LifecycleRule{Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{}, Transitions: []types.Transition{{Days: aws.Int32(1), StorageClass: types.TransitionStorageClassGlacier}}}), "another class of storage")
	s.want("", put(
		types.LifecycleRule{ID: aws.String("logs"), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("logs/")}, Expiration: &types.LifecycleExpiration{Days: aws.Int32(3)}},
		types.LifecycleRule{
			ID: aws.String("old"), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Tag: &types.Tag{Key: aws.String("tmp"), Value: aws.String("1")}}, Expiration: &types.LifecycleExpiration{Days: aws.Int32(1)},
			NoncurrentVersionExpiration: &types.NoncurrentVersionExpiration{NoncurrentDays: aws.Int32(2)},
		},
		types.LifecycleRule{ID: aws.String("parts"), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{}, AbortIncompleteMultipartUpload: &types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(2)}},
		types.LifecycleRule{ID: aws.String("off"), Status: types.ExpirationStatusDisabled, Filter: &types.LifecycleRuleFilter{}, Expiration: &types.LifecycleExpiration{Days: aws.Int32(1)}},
	), "put")
	s.want("MalformedXML", put(types.LifecycleRule{
		Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Tag: &types.Tag{Key: aws.String("tmp"), Value: aws.String("1")}},
		AbortIncompleteMultipartUpload: &types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(2)},
	}), "uploads by a tag that none has yet")
	got, err := s.aws.GetBucketLifecycleConfiguration(ctx, &aws3.GetBucketLifecycleConfigurationInput{Bucket: town})
	if err != nil || len(got.Rules) != 4 || *got.Rules[0].ID != "logs" {
		t.Fatalf("%+v, %v", got, err)
	}
	odd := `<?xml version="1.0"?><!-- <LifecycleConfiguration --><s:LifecycleConfiguration xmlns:s="http://s3.amazonaws.com/doc/2006-03-01/">` +
		`<s:Rule><s:Status>Enabled</s:Status><s:Filter/><s:Expiration><s:Days>1</s:Days></s:Expiration></s:Rule></s:LifecycleConfiguration>`
	village := *s.bucket("village")
	if err := lifecycleSetting.write(d, village, []byte(odd)); err != nil {
		t.Fatal(err)
	}
	if doc, err := lifecycleSetting.read(d, village); err != nil {
		t.Error(err)
	} else if l, err := parseLifecycle(doc); err != nil || l.Rules[0].Expiration.Days != 1 {
		t.Errorf("an odd document is kept as %q, %v", doc, err)
	}
	s.put("town", "logs/a", "x")
	s.put("town", "keep", "x")
	_, err = s.aws.PutObject(ctx, &aws3.PutObjectInput{Bucket: town, Key: aws.String("tagged"), Body: strings.NewReader("x"), Tagging: aws.String("tmp=1")})
	s.want("", err, "put")
	_, err = s.aws.CreateMultipartUpload(ctx, &aws3.CreateMultipartUploadInput{Bucket: town, Key: aws.String("part")})
	s.want("", err, "begin")
	left := func() string {
		t.Helper()
		if err := d.Sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
		list, err := s.aws.ListObjectVersions(ctx, &aws3.ListObjectVersionsInput{Bucket: town})
		if err != nil {
			t.Fatal(err)
		}
		ups, err := s.aws.ListMultipartUploads(ctx, &aws3.ListMultipartUploadsInput{Bucket: town})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, v := range list.Versions {
			names = append(names, *v.Key)
		}
		return fmt.Sprint(names, len(list.DeleteMarkers), len(ups.Uploads))
	}
	for _, tt := range []struct {
		after time.Duration
		want  string
	}{
		{0, "[keep logs/a tagged] 0 1"},
		{25 * time.Hour, "[keep logs/a] 0 1"},
		{49 * time.Hour, "[keep logs/a] 0 0"},
		{73 * time.Hour, "[keep] 0 0"},
	} {
		at = time.Now().Add(tt.after)
		if got := left(); got != tt.want {
			t.Errorf("after %s: %s, want %s", tt.after, got, tt.want)
		}
	}
	_, err = s.aws.DeleteBucketLifecycle(ctx, &aws3.DeleteBucketLifecycleInput{Bucket: town})
	s.want("", err, "delete")

	// With versions: a marker first, the version when it was noncurrent long enough.
	at = time.Now()
	_, err = s.aws.PutBucketVersioning(ctx, &aws3.PutBucketVersioningInput{Bucket: town, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	s.want("", err, "versions")
	_, err = s.aws.DeleteObject(ctx, &aws3.DeleteObjectInput{Bucket: town, Key: aws.String("keep"), VersionId: aws.String("null")})
	s.want("", err, "clear")
	s.want("", put(types.LifecycleRule{Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{}, NoncurrentVersionExpiration: &types.NoncurrentVersionExpiration{NoncurrentDays: aws.Int32(1), NewerNoncurrentVersions: aws.Int32(1)}}), "put")
	for i := range 4 {
		s.put("town", "v", fmt.Sprint(i))
	}
	at = time.Now().Add(25 * time.Hour)
	if got := left(); got != "[v v] 0 0" || s.get("town", "v") != "3" {
		t.Errorf("versions: %s", got)
	}
}

func TestWebsites(t *testing.T) {
	s := stood(t)
	town := s.bucket("town")
	ctx := t.Context()
	_, err := s.aws.GetBucketWebsite(ctx, &aws3.GetBucketWebsiteInput{Bucket: town})
	s.want("NoSuchWebsiteConfiguration", err, "without")
	_, err = s.aws.PutBucketWebsite(ctx, &aws3.PutBucketWebsiteInput{Bucket: town, WebsiteConfiguration: &types.WebsiteConfiguration{
		IndexDocument: &types.IndexDocument{Suffix: aws.String("index.html")}, ErrorDocument: &types.ErrorDocument{Key: aws.String("oops.html")},
		RoutingRules: []types.RoutingRule{{Condition: &types.Condition{KeyPrefixEquals: aws.String("old/")}, Redirect: &types.Redirect{ReplaceKeyPrefixWith: aws.String("new/")}}},
	}})
	s.want("", err, "put")
	for k, v := range map[string]string{"index.html": "home", "docs/index.html": "docs", "oops.html": "oops", "a b.txt": "page", "big": string(noise(2 << 20))} {
		_, err := s.aws.PutObject(ctx, &aws3.PutObjectInput{Bucket: town, Key: &k, Body: strings.NewReader(v), ContentType: aws.String("text/html")})
		s.want("", err, k)
	}
	host := "town.web.localhost"
	if a := s.ask("GET", host, "/"); a.StatusCode != 403 {
		t.Errorf("before the policy opens it: %s", a.Status)
	}
	if a, b := s.ask("GET", host, "/docs"), s.ask("GET", host, "/none"); a.StatusCode != b.StatusCode || a.Header.Get("Location") != "" {
		t.Errorf("what isn't shown is told from what isn't there: %s, %s", a.Status, b.Status)
	}
	_, err = s.aws.PutBucketPolicy(ctx, &aws3.PutBucketPolicyInput{Bucket: town, Policy: aws.String(anybody("town"))})
	s.want("", err, "open it")
	_, err = s.aws.PutObject(ctx, &aws3.PutObjectInput{Bucket: town, Key: aws.String("go"), Body: strings.NewReader(""), WebsiteRedirectLocation: aws.String("/docs/")})
	s.want("", err, "a redirect")
	for _, tt := range []struct {
		path string
		code int
		body string
		to   string
	}{
		{"/", 200, "home", ""},
		{"/docs/", 200, "docs", ""},
		{"/docs", 302, "", "http://" + host + "/docs/"},
		{"/a%20b.txt", 200, "page", ""},
		{"/none", 404, "oops", ""},
		{"/old/x", 301, "", "http://" + host + "/new/x"},
		{"/go", 301, "", "/docs/"},
		{"/big", 200, string(noise(2 << 20)), ""},
	} {
		a := s.ask("GET", host, tt.path)
		if got := s.all(a.Body); a.StatusCode != tt.code || got != tt.body || a.Header.Get("Location") != tt.to {
			t.Errorf("%s: %s, %d bytes, to %q", tt.path, a.Status, len(got), a.Header.Get("Location"))
		}
	}
	if a := s.ask("HEAD", host, "/"); a.StatusCode != 200 || a.ContentLength != 4 {
		t.Errorf("head: %s, %d", a.Status, a.ContentLength)
	}
	if a := s.ask("PUT", host, "/evil"); a.StatusCode != 405 {
		t.Errorf("put: %s", a.Status)
	}
	if a := s.ask("GET", host, "/big", "Range", "bytes=0-3"); a.StatusCode != 206 || len(s.all(a.Body)) != 4 {
		t.Errorf("range: %s", a.Status)
	}
	_, err = s.aws.DeleteBucketWebsite(ctx, &aws3.DeleteBucketWebsiteInput{Bucket: town})
	s.want("", err, "delete")
	if a := s.ask("GET", host, "/"); a.StatusCode != 404 {
		t.Errorf("after: %s", a.Status)
	}
}

func TestEncryptionIsSpokenOfTruthfully(t *testing.T) {
	s := stood(t)
	town := s.bucket("town")
	ctx := t.Context()
	put := func(in aws3.PutObjectInput) (*aws3.PutObjectOutput, error) {
		in.Bucket, in.Key, in.Body = town, aws.String("a"), strings.NewReader("x")
		return s.aws.PutObject(ctx, &in)
	}
	out, err := put(aws3.PutObjectInput{ServerSideEncryption: types.ServerSideEncryptionAes256})
	if err != nil || out.ServerSideEncryption != types.ServerSideEncryptionAes256 {
		t.Errorf("AES256: %+v, %v", out, err)
	}
	h, err := s.aws.HeadObject(ctx, &aws3.HeadObjectInput{Bucket: town, Key: aws.String("a")})
	if err != nil || h.ServerSideEncryption != types.ServerSideEncryptionAes256 {
		t.Errorf("head: %+v, %v", h, err)
	}
	_, err = put(aws3.PutObjectInput{ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: aws.String("k")})
	s.want("NotImplemented", err, "a key service")
	_, err = put(aws3.PutObjectInput{SSECustomerAlgorithm: aws.String("AES256"), SSECustomerKey: aws.String("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="), SSECustomerKeyMD5: aws.String("x")})
	if codeOf(err) == "" {
		t.Error("a customer's key was taken")
	}
	e, err := s.aws.GetBucketEncryption(ctx, &aws3.GetBucketEncryptionInput{Bucket: town})
	if err != nil || e.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.SSEAlgorithm != types.ServerSideEncryptionAes256 {
		t.Errorf("bucket: %+v, %v", e, err)
	}
	rule := func(a types.ServerSideEncryption) *aws3.PutBucketEncryptionInput {
		return &aws3.PutBucketEncryptionInput{Bucket: town, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{{
			ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: a},
		}}}}
	}
	_, err = s.aws.PutBucketEncryption(ctx, rule(types.ServerSideEncryptionAes256))
	s.want("", err, "what holds anyway")
	_, err = s.aws.PutBucketEncryption(ctx, rule(types.ServerSideEncryptionAwsKms))
	s.want("NotImplemented", err, "a bucket's key service")
	_, err = s.aws.DeleteBucketEncryption(ctx, &aws3.DeleteBucketEncryptionInput{Bucket: town})
	s.want("", err, "delete")
}

func TestBucketsByHostName(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	c := s.client(s.key.Access, s.secret(), "", func(o *aws3.Options) {
		o.UsePathStyle = false
		o.BaseEndpoint = aws.String("http://s3.localhost:" + s.addr[strings.LastIndex(s.addr, ":")+1:])
		o.HTTPClient = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, s.addr)
		}}}
	})
	_, err := c.PutObject(t.Context(), &aws3.PutObjectInput{Bucket: aws.String("town"), Key: aws.String("a/b c"), Body: strings.NewReader("hello")})
	s.want("", err, "put")
	list, err := c.ListObjectsV2(t.Context(), &aws3.ListObjectsV2Input{Bucket: aws.String("town")})
	if err != nil || len(list.Contents) != 1 || s.get("town", "a/b c") != "hello" {
		t.Errorf("%+v, %v", list, err)
	}
	_, err = c.PutBucketLifecycleConfiguration(t.Context(), &aws3.PutBucketLifecycleConfigurationInput{Bucket: aws.String("town"), LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{{
		Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{}, Expiration: &types.LifecycleExpiration{Days: aws.Int32(3)},
	}}}})
	s.want("", err, "a setting")
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	names := []string{"127.0.0.1", "localhost", "*.s3.localhost"}
	if err := SelfSigned(cert, key, names, time.Now()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := SelfSigned(cert, key, names, time.Now()); err != nil {
		t.Fatal(err)
	}
	if again, _ := os.ReadFile(cert); !bytes.Equal(again, text) {
		t.Error("a good certificate was made anew")
	}
	if i, err := os.Stat(key); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", i.Mode(), err)
	}
	s := standing(t, func(c *Config) { c.Cert, c.Key = cert, key })
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(text)
	c := s.client(s.key.Access, s.secret(), "", func(o *aws3.Options) {
		o.BaseEndpoint = aws.String("https://" + s.addr)
		o.HTTPClient = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}}}
	})
	_, err = c.CreateBucket(t.Context(), &aws3.CreateBucketInput{Bucket: aws.String("town")})
	s.want("", err, "over TLS")
}

func TestWhatIsNotDoneSaysSo(t *testing.T) {
	s := stood(t)
	town := s.bucket("town")
	s.put("town", "a", "x")
	ctx := t.Context()
	for name, f := range map[string]func() error{
		"GetBucketReplication": func() error {
			_, err := s.aws.GetBucketReplication(ctx, &aws3.GetBucketReplicationInput{Bucket: town})
			return err
		},
		"GetBucketLogging": func() error {
			_, err := s.aws.GetBucketLogging(ctx, &aws3.GetBucketLoggingInput{Bucket: town})
			return err
		},
		"GetBucketNotificationConfiguration": func() error {
			_, err := s.aws.GetBucketNotificationConfiguration(ctx, &aws3.GetBucketNotificationConfigurationInput{Bucket: town})
			return err
		},
		"GetBucketAccelerateConfiguration": func() error {
			_, err := s.aws.GetBucketAccelerateConfiguration(ctx, &aws3.GetBucketAccelerateConfigurationInput{Bucket: town})
			return err
		},
		"GetPublicAccessBlock": func() error {
			_, err := s.aws.GetPublicAccessBlock(ctx, &aws3.GetPublicAccessBlockInput{Bucket: town})
			return err
		},
		"RestoreObject": func() error {
			_, err := s.aws.RestoreObject(ctx, &aws3.RestoreObjectInput{Bucket: town, Key: aws.String("a"), RestoreRequest: &types.RestoreRequest{Days: aws.Int32(1)}})
			return err
		},
	} {
		s.want("NotImplemented", f(), name)
	}
}

func TestWhatIsReadAsAWholeIsBounded(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	form := "Content-Type: multipart/form-data; boundary=x\r\n"
	field := "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n"
	file := func(n int) string { return field + strings.Repeat("x", n) + "\r\n--x--\r\n" }
	for _, tt := range []struct{ name, request, headers, body, code string }{
		{"a document", "PUT /town?policy", "Content-Length: 5000000\r\n", "", "MaxMessageLengthExceeded"},
		{"one whose end isn't known", "PUT /town?policy", "Transfer-Encoding: chunked\r\n", "", "MissingContentLength"},
		{"a request without a document", "GET /town/a", "Transfer-Encoding: chunked\r\n", "", "MissingContentLength"},
		{"a copy", "PUT /town/a", "X-Amz-Copy-Source: town/b\r\nContent-Length: 5000000\r\n", "", "MaxMessageLengthExceeded"},
		{"a list of removals that says it is a form", "POST /town?delete", form, file(maxDocument), "MaxMessageLengthExceeded"},
		{"a form", "POST /town", form, file(maxForm), "EntityTooLarge"},
		{"an object", "PUT /town/a", "Content-Length: 5000000\r\n", "", "AccessDenied"}, // it streams: only the signature is missing
	} {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
			t.Fatal(err)
		}
		head := tt.request + " HTTP/1.1\r\nHost: " + s.addr + "\r\nConnection: close\r\n" + tt.headers
		switch {
		case tt.body != "":
			head += fmt.Sprintf("Content-Length: %d\r\n", len(tt.body))
		case strings.HasPrefix(tt.headers, "Transfer"): // no chunk ever comes
		default:
			tt.body = strings.Repeat("x", 8<<10) // as much as is read ahead; the rest never comes
		}
		if _, err := io.WriteString(c, head+"\r\n"+tt.body); err != nil {
			t.Fatal(err)
		}
		a, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if body := s.all(a.Body); !strings.Contains(body, "<Code>"+tt.code+"</Code>") {
			t.Errorf("%s: %s %s, want %s", tt.name, a.Status, body, tt.code)
		}
	}
}

// A setting that the gateway has no backend for isn't had by asking for another
// one beside it, which everybody may.
func TestOneSettingIsNotHadAsAnother(t *testing.T) {
	s := stood(t)
	town := s.bucket("town")
	ctx := t.Context()
	_, err := s.aws.PutBucketPolicy(ctx, &aws3.PutBucketPolicyInput{Bucket: town, Policy: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["s3:GetAnalyticsConfiguration","s3:PutAnalyticsConfiguration"],"Resource":"arn:aws:s3:::town"}]}`)})
	s.want("", err, "policy")
	for _, path := range []string{"/town?analytics&id=a&encryption", "/town?analytics&encryption"} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			a := s.ask(method, s.addr, path)
			if s.all(a.Body); a.StatusCode/100 == 2 {
				t.Errorf("%s %s: %s", method, path, a.Status)
			}
		}
	}
}
