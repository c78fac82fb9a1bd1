package client

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"hearth/core/erasure"
	"hearth/storage/index"
)

// Each read takes two buffers when it can get them; with fewer than that for all
// of them, none may keep what the others wait for.
func TestReadersDontWaitForEachOthersBuffers(t *testing.T) {
	f := newFleet(t, 6, 256<<20)
	class := erasure.Class{K: 2, N: 4}
	c := f.client(t, t.TempDir()+"/index.db", func(c *Config) { c.Class, c.Buffers = class, 2 })
	at := index.Ref{Bucket: "town", Key: "film"}
	body := bytes.Repeat([]byte("a day in town. "), int(class.SlabSize()*5/2/15))
	if _, err := c.Put(t.Context(), at, bytes.NewReader(body), PutOptions{Size: int64(len(body))}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	readers := 8
	if raceEnabled {
		readers = 4
	}
	for range readers {
		wg.Go(func() {
			var got bytes.Buffer
			if _, err := c.Get(ctx, at, &got, GetOptions{}); err != nil || !bytes.Equal(got.Bytes(), body) {
				t.Errorf("%d bytes, %v", got.Len(), err)
			}
		})
	}
	wg.Wait()
}
