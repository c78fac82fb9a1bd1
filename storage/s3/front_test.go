package s3

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Behind the last byte of an upload in chunks comes its checksum, and the end of HTTP's
// own chunks. What is left of that would be taken for the connection's next request.
func TestNothingOfAnUploadIsLeftOnItsConnection(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	key, secret, err := s.keys.Add("")
	if err != nil {
		t.Fatal(err)
	}
	var dials atomic.Int32
	web := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1, DialContext: func(ctx context.Context, network, at string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, at)
	}}}
	defer web.CloseIdleConnections()
	for i := range 40 {
		size := []int{0, 1, 4095, 4096, 70_000}[i%5]
		body := bytes.Repeat([]byte{'x'}, size)
		sum := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(body)))
		var chunked bytes.Buffer
		if size > 0 {
			fmt.Fprintf(&chunked, "%x\r\n%s\r\n", size, body)
		}
		fmt.Fprintf(&chunked, "0\r\nx-amz-checksum-crc32:%s\r\n\r\n", sum)
		// A body whose length isn't known goes in chunks of HTTP's own, with an end of theirs.
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, fmt.Sprintf("http://%s/town/%d", s.addr, i), io.MultiReader(&chunked))
		if err != nil {
			t.Fatal(err)
		}
		const payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
		for name, value := range map[string]string{
			"Content-Encoding": "aws-chunked", "X-Amz-Decoded-Content-Length": strconv.Itoa(size), "X-Amz-Trailer": "x-amz-checksum-crc32", "X-Amz-Content-Sha256": payload,
		} {
			r.Header.Set(name, value)
		}
		who := aws.Credentials{AccessKeyID: key.Access, SecretAccessKey: secret.Word()}
		if err := v4.NewSigner().SignHTTP(t.Context(), who, r, payload, "s3", DefaultRegion, time.Now()); err != nil {
			t.Fatal(err)
		}
		answer, err := web.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		told, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("put %d of %d bytes: %s, %s, %v", i, size, answer.Status, told, err)
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections were needed", n)
	}
}

// What a refused upload had still to say isn't the next request: who asks for something
// after it gets that.
func TestARefusedUploadIsNotTakenForTheNextRequest(t *testing.T) {
	s := stood(t)
	for _, length := range []string{"Content-Length: 60\r\n", "Transfer-Encoding: chunked\r\n"} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n                                \n"
		body := smuggled[:60]
		if length[0] == 'T' {
			body = "3c\r\n" + body + "\r\n0\r\n\r\n"
		}
		if _, err := fmt.Fprintf(conn, "PUT /none/key HTTP/1.1\r\nHost: %s\r\n%s\r\n%s", s.addr, length, body); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		first, err := http.ReadResponse(r, nil)
		if err != nil || first.StatusCode/100 != 4 {
			t.Fatalf("%+v, %v", first, err)
		}
		if _, err := io.Copy(io.Discard, first.Body); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(time.Second))
		if more, _ := io.ReadAll(r); len(more) > 0 {
			t.Errorf("%s: what belongs to an upload was answered: %.100s", length, more)
		}
	}
}
