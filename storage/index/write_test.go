package index

import (
	"errors"
	"fmt"
	"testing"

	"hearth/core/fault"
)

func TestManyWritersAtOnce(t *testing.T) {
	x := newIndex(t)
	const n = 200
	errs := make(chan error, n)
	for i := range n {
		go func() {
			d := Draft{Ref: Ref{Bucket: "town", Key: fmt.Sprint(i)}, Manifest: Manifest{Inline: []byte("x")}}
			if i%10 == 0 {
				d.Bucket = "none" // one in ten fails, and only that one
			}
			_, err := x.Commit(t.Context(), 0, d)
			if (i%10 == 0) != (fault.CodeOf(err) == fault.NotFound) {
				errs <- fmt.Errorf("put %d: %w", i, err)
				return
			}
			errs <- nil
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	p, err := x.List(t.Context(), "town", Listing{})
	if err != nil || len(p.Objects) != n*9/10 {
		t.Errorf("%d objects, %v", len(p.Objects), err)
	}
}

func TestNothingIsWrittenAfterClose(t *testing.T) {
	x := newIndex(t)
	x.Close()
	if err := x.MakeBucket(t.Context(), "later"); !errors.Is(err, errClosed) {
		t.Errorf("after close: %v", err)
	}
}
