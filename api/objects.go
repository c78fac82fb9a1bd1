package api

import (
	"net/url"
	"strings"
	"time"

	"hearth/core/fault"
)

// A Bucket holds objects.
type Bucket struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
}

// Buckets is every bucket.
type Buckets struct {
	Buckets []Bucket `json:"buckets" nullable:"false"`
}

// An Object is one stored file.
type Object struct {
	Bucket   string    `json:"bucket"`
	Key      string    `json:"key"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	Version  string    `json:"version"`
	Type     string    `json:"content_type,omitempty"`
	Class    string    `json:"class,omitempty" doc:"k/n of its code; absent: it lies in the index itself"`
	Sum      string    `json:"blake3,omitempty" doc:"Of its content, hex, where it is known"`
	Pending  int       `json:"pending" doc:"Shards still to be placed; the file can be read meanwhile"`
}

// Objects is one page of a bucket.
type Objects struct {
	Objects  []Object `json:"objects" nullable:"false"`
	Prefixes []string `json:"prefixes" nullable:"false" doc:"Folders, where a delimiter was given"`
	Next     string   `json:"next,omitempty" doc:"Give it as 'after' for the next page; absent: this was the last"`
}

// A ListQuery says which part of a bucket is wanted.
type ListQuery struct {
	Prefix    string
	Delimiter string
	After     string
	Limit     int // 0: the server's default
}

// A Health says how well an object is kept.
type Health struct {
	Object Object       `json:"object"`
	Slabs  []SlabHealth `json:"slabs" nullable:"false"`
	Month  Money        `json:"month" doc:"What keeping it costs in 30 days"`
}

// A SlabHealth is one slab's shards.
type SlabHealth struct {
	Needed int           `json:"needed" doc:"Shards that are enough to read it (k)"`
	Shards []ShardHealth `json:"shards" nullable:"false" doc:"All n"`
}

// A ShardHealth is one shard.
type ShardHealth struct {
	Index  int    `json:"index"`
	Root   string `json:"root" doc:"BLAKE3, hex"`
	Size   int64  `json:"size"`
	Host   string `json:"host,omitempty" doc:"hearth1... address; absent: not placed yet"`
	Lease  uint64 `json:"lease,omitempty"`
	State  string `json:"state" enum:"held,pending,silent,lost"`
	Detail string `json:"detail,omitempty"`
}

// Progress of an upload or a download. The counts never fall.
type Progress struct {
	Bytes  int64 `json:"bytes" doc:"Of the file, done"`
	Total  int64 `json:"total" doc:"Of the file; -1: not known"`
	Shards int   `json:"shards" doc:"Shards that hosts have confirmed"`
	Hosts  int   `json:"hosts" doc:"Hosts taking part"`
}

// A Transfer is one upload or download, during it and some time after.
type Transfer struct {
	ID       string    `json:"id"`
	Kind     string    `json:"kind" enum:"put,get"`
	Bucket   string    `json:"bucket"`
	Key      string    `json:"key"`
	Progress Progress  `json:"progress"`
	Started  time.Time `json:"started"`
	Done     bool      `json:"done"`
	Problem  *Problem  `json:"problem,omitempty" doc:"Why it ended, if it ended badly"`
}

// An Event is something a person would want to be told.
type Event struct {
	Time     time.Time `json:"time"`
	Severity string    `json:"severity" enum:"info,warning,error"`
	Code     string    `json:"code" doc:"Stable word, e.g. runway_72h"`
	Text     string    `json:"text"`
}

// ObjectPath is the path of an object under /v1. The key is escaped whole, so
// that slashes, dots and empty parts in it arrive as they are.
func ObjectPath(kind, bucket, key string) string {
	escaped := url.PathEscape(key)
	if key == "." || key == ".." {
		escaped = strings.ReplaceAll(key, ".", "%2E")
	}
	return "/v1/" + kind + "/" + url.PathEscape(bucket) + "/" + escaped
}

// A Range is a part of an object: Length bytes from Offset, or to the end
// where Length is -1. A negative Offset counts from the end.
type Range struct{ Offset, Length int64 }

// Whole is the range that is everything.
func Whole() Range { return Range{0, -1} }

// Within cuts the range to an object's size, giving offset and length. A range
// that begins behind the end is refused.
func (r Range) Within(size int64) (off, n int64, err error) {
	off, n = r.Offset, r.Length
	if off < 0 {
		off = max(size+off, 0)
		n = -1
	}
	if off > size || off == size && size > 0 {
		return 0, 0, fault.New(fault.BadRequest, "read range: begins at %d, the object has %d bytes", off, size)
	}
	if n < 0 || n > size-off {
		n = size - off
	}
	return off, n, nil
}

// A Finding is what the hosts of an object said of it.
type Finding struct {
	Bucket  string `json:"bucket"`
	Key     string `json:"key"`
	Version string `json:"version,omitempty"`
	Size    int64  `json:"size"`
	State   string `json:"state" enum:"healthy,degraded,unknown,lost" doc:"Unknown: too many hosts are silent to say whether it can be read"`
	Slabs   int    `json:"slabs"`
	Need    int    `json:"need" doc:"Shards that give the worst slab back"`
	Held    int    `json:"held" doc:"Of the worst slab"`
	Missing int    `json:"missing"`
	Silent  int    `json:"silent" doc:"Shards whose host doesn't answer"`
	Pending int    `json:"pending"`
	Detail  string `json:"detail,omitempty"`
}

// A CheckQuery says which objects are to be checked.
type CheckQuery struct {
	Prefix, After, AfterVersion string
	Limit, Samples              int
}

// Findings are those of one page of a bucket's versions.
type Findings struct {
	Findings    []Finding `json:"findings" nullable:"false"`
	Next        string    `json:"next,omitempty" doc:"'after' of the next page; absent at the end"`
	NextVersion string    `json:"next_version,omitempty" doc:"'after_version' of the next page"`
}
