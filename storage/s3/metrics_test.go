package s3

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	aws3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/prometheus/client_golang/prometheus"
)

// figures are the present ones by name and labels; of a histogram the count.
func figures(t *testing.T, m *Metrics) map[string]float64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(m)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, one := range f.Metric {
			name := strings.TrimPrefix(f.GetName(), "hearth_s3_")
			for _, l := range one.Label {
				name += " " + l.GetValue()
			}
			out[name] = one.GetCounter().GetValue() + one.GetGauge().GetValue() + float64(one.GetHistogram().GetSampleCount())
		}
	}
	return out
}

// shows waits until the door shows all of these: a request is over some time after
// its client has the answer.
func shows(t *testing.T, m *Metrics, want map[string]float64) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		got, wrong := figures(t, m), ""
		for name, n := range want {
			if got[name] != n {
				wrong += fmt.Sprintf("%s is %v, not %v\n", name, got[name], n)
			}
		}
		if wrong == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s%v", wrong, got)
		}
	}
}

func TestEveryRequestIsCountedOnce(t *testing.T) {
	m := NewMetrics()
	s := standing(t, func(c *Config) { c.Metrics = m })
	ctx := t.Context()
	if _, err := s.aws.CreateBucket(ctx, &aws3.CreateBucketInput{Bucket: aws.String("counted")}); err != nil {
		t.Fatal(err)
	}
	small, large := make([]byte, 1000), make([]byte, 24<<20) // more than what sockets hold
	for key, b := range map[string][]byte{"small": small, "large": large} {
		if _, err := s.aws.PutObject(ctx, &aws3.PutObjectInput{Bucket: aws.String("counted"), Key: aws.String(key), Body: bytes.NewReader(b)}); err != nil {
			t.Fatal(err)
		}
	}
	shows(t, m, map[string]float64{"requests_total 2xx PutObject": 2, "in_bytes_total": 1000 + 24<<20, "in_flight": 0, "out_bytes_total": 0})

	get := func(key string) (*aws3.GetObjectOutput, error) {
		return s.aws.GetObject(ctx, &aws3.GetObjectInput{Bucket: aws.String("counted"), Key: aws.String(key)})
	}
	for _, key := range []string{"small", "large"} {
		o, err := get(key)
		if err != nil {
			t.Fatal(err)
		}
		if key == "large" { // it counts while it streams
			shows(t, m, map[string]float64{"in_flight": 1, "requests_total 2xx GetObject": 1})
		}
		if n, err := io.Copy(io.Discard, o.Body); err != nil || n != *o.ContentLength {
			t.Fatalf("%d bytes, %v", n, err)
		}
		o.Body.Close()
	}
	if _, err := get("nothing"); err == nil {
		t.Error("what isn't there is read")
	}
	if _, err := s.aws.HeadObject(ctx, &aws3.HeadObjectInput{Bucket: aws.String("counted"), Key: aws.String("large")}); err != nil {
		t.Error(err)
	}
	if _, err := s.aws.ListObjectsV2(ctx, &aws3.ListObjectsV2Input{Bucket: aws.String("counted")}); err != nil {
		t.Error(err)
	}
	res, err := http.Get("http://" + s.addr + "/counted/small") // without a key
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	shows(t, m, map[string]float64{
		"in_flight": 0, "out_bytes_total": 1000 + 24<<20, "in_bytes_total": 1000 + 24<<20,
		"requests_total 2xx CreateBucket": 1, "requests_total 2xx GetObject": 2, "requests_total 4xx GetObject": 2,
		"requests_total 2xx HeadObject": 1, "requests_total 2xx ListObjectsV2": 1, "request_duration_seconds GetObject": 4,
	})

	// Who hangs up in the middle leaves nothing behind.
	o, err := get("large")
	if err != nil {
		t.Fatal(err)
	}
	o.Body.Close()
	shows(t, m, map[string]float64{"in_flight": 0, "requests_total 2xx GetObject": 3})
}
