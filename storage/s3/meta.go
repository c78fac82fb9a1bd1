package s3

import (
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"hearth/storage/index"
)

// What the door keeps with an object, in its Extra, beside a user's own words.
const (
	userWord     = "x-" // begins a user's words
	wordDoor     = "s3" // stored through the door: its ETag is one of S3
	wordSum      = "sum"
	wordParts    = "parts"
	wordEncoding = "encoding"
	wordDispose  = "disposition"
	wordLanguage = "language"
	wordCache    = "cache"
	wordExpires  = "expires"
	wordRedirect = "redirect"
)

// words are the headers that come with an object.
type headers struct {
	user                                                      map[string]string
	encoding, disposition, language, cache, expires, redirect *string
}

// extra writes headers as an object's Extra.
func (h headers) extra() map[string]string {
	out := map[string]string{wordDoor: "1"}
	for k, v := range h.user {
		out[userWord+strings.ToLower(k)] = strings.Clone(v)
	}
	for k, v := range map[string]*string{
		wordEncoding: h.encoding, wordDispose: h.disposition, wordLanguage: h.language,
		wordCache: h.cache, wordExpires: h.expires, wordRedirect: h.redirect,
	} {
		if s := str(v); s != "" {
			out[k] = s
		}
	}
	return out
}

// user are the user's own words of an object.
func user(o index.Object) map[string]string {
	out := make(map[string]string)
	for k, v := range o.Extra {
		if name, ok := strings.CutPrefix(k, userWord); ok {
			out[name] = v
		}
	}
	return out
}

// foreign ends the ETag of an object that wasn't stored through the door: clients
// take an ETag without a hyphen for the MD5 of the contents.
const foreign = "-0"

// etag is an object's ETag as the door shows it.
func etag(o index.Object) string {
	if o.Extra[wordDoor] == "" {
		return `"` + o.ETag + foreign + `"`
	}
	return `"` + o.ETag + `"`
}

// rawETag is an ETag that a client names, as the index knows it.
func rawETag(s string) string { return strings.TrimSuffix(strings.Trim(s, `"`), foreign) }

// word writes a sum as it is kept with its object.
func (s sum) word(kind types.ChecksumType) string {
	return string(s.algo) + ":" + s.value + ":" + string(kind)
}

// sumOf is the sum that is kept with an object, a part or an upload.
func sumOf(extra map[string]string) (s sum, kind types.ChecksumType) {
	p := strings.Split(extra[wordSum], ":")
	if len(p) != 3 {
		return sum{}, ""
	}
	return sum{types.ChecksumAlgorithm(p[0]), p[1]}, types.ChecksumType(p[2])
}

// of is the value of s where it is of that algorithm.
func (s sum) of(algo types.ChecksumAlgorithm) *string {
	if s.algo != algo || s.value == "" {
		return nil
	}
	return ptr(s.value)
}

// writeParts writes the sizes of an object's parts, equal ones together. It is
// empty where that gets too long.
func writeParts(sizes []int64) string {
	var out []string
	for i := 0; i < len(sizes); {
		n := 1
		for i+n < len(sizes) && sizes[i+n] == sizes[i] {
			n++
		}
		out = append(out, strconv.Itoa(n)+"*"+strconv.FormatInt(sizes[i], 10))
		i += n
	}
	if s := strings.Join(out, ","); len(s) <= 4<<10 {
		return s
	}
	return ""
}

// partsOf reads the sizes of an object's parts; none where it has none.
func partsOf(o index.Object) []int64 {
	var out []int64
	if o.Extra[wordParts] == "" {
		return nil
	}
	for run := range strings.SplitSeq(o.Extra[wordParts], ",") {
		n, size, _ := strings.Cut(run, "*")
		count, err1 := strconv.Atoi(n)
		bytes, err2 := strconv.ParseInt(size, 10, 64)
		if err1 != nil || err2 != nil || count < 1 || len(out)+count > index.MaxParts {
			return nil
		}
		for range count {
			out = append(out, bytes)
		}
	}
	return out
}

// changed is when a version was made.
func changed(o index.Object) *time.Time { return ptr(time.Unix(o.Created, 0).UTC()) }

// shown is the version that a client is told of: none where there is only one.
func shown(o index.Object, asked string) *string {
	if o.Null && asked == "" {
		return nil
	}
	return ptr(o.VersionID)
}
