package weather

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"hearth/api"
	"hearth/internal/port"
)

// door opens the S3 door of the client, if it isn't open, for a key without limits.
func (w *world) door(t *testing.T) (api.S3Door, *s3.Client) {
	t.Helper()
	ctx := within(t, patient)
	d, err := w.api.S3(ctx)
	if err == nil && !d.Open {
		d, err = w.api.OpenS3(ctx, api.S3Listen{Listen: freeAddr(t)})
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := w.api.S3Secret(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	return d, s3.New(s3.Options{
		Region: d.Region, BaseEndpoint: &d.Endpoint, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(key.Access, key.Secret, ""),
	})
}

func freeAddr(t *testing.T) string {
	t.Helper()
	n, err := port.Free()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", n)
}

// A bucket with a website shows anybody, without credentials, what its policy
// gives to everybody, and nothing else.
func (w *world) publishes(t *testing.T, under string, body []byte) {
	t.Helper()
	d, owner := w.door(t)
	ctx := within(t, patient)
	name := aws.String(bucket)
	if _, err := owner.PutBucketWebsite(ctx, &s3.PutBucketWebsiteInput{Bucket: name, WebsiteConfiguration: &types.WebsiteConfiguration{
		IndexDocument: &types.IndexDocument{Suffix: aws.String("index.html")},
	}}); err != nil {
		t.Fatal(err)
	}
	if code, _ := visits(t, d, under); code != http.StatusForbidden {
		t.Errorf("before the policy gives it to everybody: %d", code)
	}
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::%s/%s"}]}`, bucket, under)
	if _, err := owner.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: name, Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	if code, got := visits(t, d, under); code != http.StatusOK || got != string(body) {
		t.Errorf("a public object: %d, %d bytes", code, len(got))
	}
	if code, _ := visits(t, d, "secret"); code != http.StatusForbidden {
		t.Errorf("an object that isn't public: %d", code)
	}
}

// visits asks for a page of the bucket's website as a browser does.
func visits(t *testing.T, d api.S3Door, key string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.Endpoint+"/"+key, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(d.Endpoint, "http://"), ":")
	r.Host = bucket + "." + d.Website + ":" + port
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}
