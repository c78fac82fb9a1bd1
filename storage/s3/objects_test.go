package s3

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	aws3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func TestBuckets(t *testing.T) {
	s := stood(t)
	ctx := t.Context()
	s.bucket("town")
	_, err := s.aws.CreateBucket(ctx, &aws3.CreateBucketInput{Bucket: aws.String("town")})
	s.want("BucketAlreadyOwnedByYou", err, "make it again")
	_, err = s.aws.CreateBucket(ctx, &aws3.CreateBucketInput{Bucket: aws.String("Not_a_bucket")})
	s.want("InvalidBucketName", err, "a bad name")
	_, err = s.aws.HeadBucket(ctx, &aws3.HeadBucketInput{Bucket: aws.String("town")})
	s.want("", err, "head")
	_, err = s.aws.HeadBucket(ctx, &aws3.HeadBucketInput{Bucket: aws.String("none")})
	s.want("NotFound", err, "head of none")
	s.bucket("village")
	list, err := s.aws.ListBuckets(ctx, &aws3.ListBucketsInput{})
	if err != nil || len(list.Buckets) != 2 || *list.Buckets[0].Name != "town" {
		t.Errorf("list: %+v, %v", list, err)
	}
	paged, err := s.aws.ListBuckets(ctx, &aws3.ListBucketsInput{MaxBuckets: aws.Int32(1)})
	if err != nil || len(paged.Buckets) != 1 || aws.ToString(paged.ContinuationToken) == "" {
		t.Errorf("first page: %+v, %v", paged, err)
	}
	loc, err := s.aws.GetBucketLocation(ctx, &aws3.GetBucketLocationInput{Bucket: aws.String("town")})
	s.want("", err, "location")
	if loc != nil && loc.LocationConstraint != "" && loc.LocationConstraint != DefaultRegion {
		t.Errorf("location %s", loc.LocationConstraint)
	}
	s.put("town", "a", "x")
	_, err = s.aws.DeleteBucket(ctx, &aws3.DeleteBucketInput{Bucket: aws.String("town")})
	s.want("BucketNotEmpty", err, "remove a full one")
	_, err = s.aws.DeleteBucket(ctx, &aws3.DeleteBucketInput{Bucket: aws.String("village")})
	s.want("", err, "remove an empty one")
	_, err = s.aws.ListObjectsV2(ctx, &aws3.ListObjectsV2Input{Bucket: aws.String("village")})
	s.want("NoSuchBucket", err, "list what is gone")
	acl, err := s.aws.GetBucketAcl(ctx, &aws3.GetBucketAclInput{Bucket: aws.String("town")})
	if err != nil || *acl.Owner.ID != owner {
		t.Errorf("acl %+v, %v", acl, err)
	}
	_, err = s.aws.PutBucketAcl(ctx, &aws3.PutBucketAclInput{Bucket: aws.String("town"), ACL: types.BucketCannedACLPublicRead})
	s.want("AccessControlListNotSupported", err, "an access list")
	own, err := s.aws.GetBucketOwnershipControls(ctx, &aws3.GetBucketOwnershipControlsInput{Bucket: aws.String("town")})
	if err != nil || own.OwnershipControls.Rules[0].ObjectOwnership != types.ObjectOwnershipBucketOwnerEnforced {
		t.Errorf("ownership %+v, %v", own, err)
	}
	given, err := s.aws.GetObjectAcl(ctx, &aws3.GetObjectAclInput{Bucket: aws.String("town"), Key: aws.String("a")})
	if s.want("", err, "an object's access list"); err != nil {
		return
	}
	same := &types.AccessControlPolicy{Owner: given.Owner, Grants: given.Grants}
	_, err = s.aws.PutObjectAcl(ctx, &aws3.PutObjectAclInput{Bucket: aws.String("town"), Key: aws.String("a"), AccessControlPolicy: same})
	s.want("", err, "the access list that it has")
	same.Grants = append(same.Grants, types.Grant{Permission: types.PermissionRead, Grantee: &types.Grantee{
		Type: types.TypeGroup, URI: aws.String("http://acs.amazonaws.com/groups/global/AllUsers"),
	}})
	_, err = s.aws.PutObjectAcl(ctx, &aws3.PutObjectAclInput{Bucket: aws.String("town"), Key: aws.String("a"), AccessControlPolicy: same})
	s.want("AccessControlListNotSupported", err, "an access list for all")
}

func TestRangesAndConditionsOfReads(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	body := string(noise(400_000))
	put := s.put("town", "a", body)
	for _, tt := range []struct {
		in   aws3.GetObjectInput
		code string
		want string
		of   string
	}{
		{aws3.GetObjectInput{Range: aws.String("bytes=0-9")}, "", body[:10], "bytes 0-9/400000"},
		{aws3.GetObjectInput{Range: aws.String("bytes=399990-")}, "", body[399990:], "bytes 399990-399999/400000"},
		{aws3.GetObjectInput{Range: aws.String("bytes=-5")}, "", body[399995:], "bytes 399995-399999/400000"},
		{aws3.GetObjectInput{Range: aws.String("bytes=100000-299999")}, "", body[100000:300000], "bytes 100000-299999/400000"},
		{aws3.GetObjectInput{Range: aws.String("bytes=400000-")}, "InvalidRange", "", ""},
		{aws3.GetObjectInput{IfMatch: put.ETag}, "", body, ""},
		{aws3.GetObjectInput{IfMatch: aws.String(`"other"`)}, "PreconditionFailed", "", ""},
		{aws3.GetObjectInput{IfNoneMatch: put.ETag}, "NotModified", "", ""},
		{aws3.GetObjectInput{IfModifiedSince: aws.Time(time.Now().Add(-time.Hour))}, "", body, ""},
		{aws3.GetObjectInput{IfUnmodifiedSince: aws.Time(time.Now().Add(-time.Hour))}, "PreconditionFailed", "", ""},
		{aws3.GetObjectInput{PartNumber: aws.Int32(1)}, "", body, "bytes 0-399999/400000"},
		{aws3.GetObjectInput{PartNumber: aws.Int32(2)}, "InvalidPartNumber", "", ""},
		{aws3.GetObjectInput{VersionId: aws.String("nonsense")}, "InvalidArgument", "", ""},
	} {
		in := tt.in
		in.Bucket, in.Key = aws.String("town"), aws.String("a")
		out, err := s.aws.GetObject(t.Context(), &in)
		s.want(tt.code, err, fmt.Sprintf("%+v", tt.in))
		if err == nil && (s.all(out.Body) != tt.want || aws.ToString(out.ContentRange) != tt.of) {
			t.Errorf("%s: other bytes, %s", aws.ToString(in.Range), aws.ToString(out.ContentRange))
		}
	}
	_, err := s.aws.GetObject(t.Context(), &aws3.GetObjectInput{Bucket: aws.String("town"), Key: aws.String("none")})
	s.want("NoSuchKey", err, "what isn't there")
	_, err = s.aws.GetObject(t.Context(), &aws3.GetObjectInput{Bucket: aws.String("none"), Key: aws.String("a")})
	s.want("NoSuchBucket", err, "in no bucket")
	over, err := s.aws.GetObject(t.Context(), &aws3.GetObjectInput{
		Bucket: aws.String("town"), Key: aws.String("a"), ResponseContentType: aws.String("text/x"), ResponseContentDisposition: aws.String("attachment"),
	})
	if err != nil || *over.ContentType != "text/x" || *over.ContentDisposition != "attachment" {
		t.Errorf("headers of the answer: %+v, %v", over, err)
	}
}

func TestHeadersStayWithTheObject(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	at := aws.String("a")
	_, err := s.aws.PutObject(t.Context(), &aws3.PutObjectInput{
		Bucket: aws.String("town"), Key: at, Body: strings.NewReader("x"), ContentType: aws.String("text/css"), ContentEncoding: aws.String("br"),
		ContentDisposition: aws.String("inline"), ContentLanguage: aws.String("de"), CacheControl: aws.String("max-age=5"),
		WebsiteRedirectLocation: aws.String("/other"), Metadata: map[string]string{"Colour": "blue"}, Tagging: aws.String("a=1&b=2"),
	})
	s.want("", err, "put")
	h, err := s.aws.HeadObject(t.Context(), &aws3.HeadObjectInput{Bucket: aws.String("town"), Key: at})
	if err != nil || *h.ContentType != "text/css" || *h.ContentEncoding != "br" || *h.ContentDisposition != "inline" || *h.ContentLanguage != "de" ||
		*h.CacheControl != "max-age=5" || *h.WebsiteRedirectLocation != "/other" || h.Metadata["colour"] != "blue" || *h.TagCount != 2 {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestListings(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	for _, k := range []string{"a/1", "a/2", "b/1", "b/x/1", "c", "d e+%&", "z\x01ctl"} {
		s.put("town", k, "x")
	}
	var keys, prefixes []string
	p := aws3.NewListObjectsV2Paginator(s.aws, &aws3.ListObjectsV2Input{
		Bucket: aws.String("town"), Delimiter: aws.String("/"), MaxKeys: aws.Int32(2), EncodingType: types.EncodingTypeUrl,
	})
	for p.HasMorePages() {
		page, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
		for _, x := range page.CommonPrefixes {
			prefixes = append(prefixes, *x.Prefix)
		}
	}
	if !slices.Equal(keys, []string{"c", "d%20e%2B%25%26", "z%01ctl"}) || !slices.Equal(prefixes, []string{"a/", "b/"}) {
		t.Errorf("V2: %q %q", keys, prefixes)
	}
	first, err := s.aws.ListObjects(t.Context(), &aws3.ListObjectsInput{Bucket: aws.String("town"), Prefix: aws.String("b/"), MaxKeys: aws.Int32(1)})
	if err != nil || len(first.Contents) != 1 || *first.Contents[0].Key != "b/1" || !*first.IsTruncated {
		t.Fatalf("V1: %+v, %v", first, err)
	}
	second, err := s.aws.ListObjects(t.Context(), &aws3.ListObjectsInput{Bucket: aws.String("town"), Prefix: aws.String("b/"), Marker: first.NextMarker})
	if err != nil || len(second.Contents) != 1 || *second.Contents[0].Key != "b/x/1" || *second.IsTruncated {
		t.Errorf("V1, second page: %+v, %v", second, err)
	}
	after, err := s.aws.ListObjectsV2(t.Context(), &aws3.ListObjectsV2Input{Bucket: aws.String("town"), StartAfter: aws.String("b/1"), FetchOwner: aws.Bool(true)})
	if err != nil || *after.Contents[0].Key != "b/x/1" || *after.Contents[0].Owner.ID != owner {
		t.Errorf("start after: %+v, %v", after, err)
	}
	none, err := s.aws.ListObjectsV2(t.Context(), &aws3.ListObjectsV2Input{Bucket: aws.String("town"), MaxKeys: aws.Int32(0)})
	if err != nil || len(none.Contents) != 0 {
		t.Errorf("none wanted: %+v, %v", none, err)
	}
}

func TestRemovals(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	for i := range 5 {
		s.put("town", fmt.Sprint(i), "x")
	}
	_, err := s.aws.DeleteObject(t.Context(), &aws3.DeleteObjectInput{Bucket: aws.String("town"), Key: aws.String("0")})
	s.want("", err, "remove")
	_, err = s.aws.DeleteObject(t.Context(), &aws3.DeleteObjectInput{Bucket: aws.String("town"), Key: aws.String("0")})
	s.want("", err, "remove what is gone")
	_, err = s.aws.DeleteObject(t.Context(), &aws3.DeleteObjectInput{Bucket: aws.String("town"), Key: aws.String("1"), IfMatch: aws.String(`"other"`)})
	s.want("PreconditionFailed", err, "remove under a condition")
	many, err := s.aws.DeleteObjects(t.Context(), &aws3.DeleteObjectsInput{Bucket: aws.String("town"), Delete: &types.Delete{Objects: []types.ObjectIdentifier{
		{Key: aws.String("1")}, {Key: aws.String("2")}, {Key: aws.String("never")},
	}}})
	if err != nil || len(many.Deleted) != 3 || len(many.Errors) != 0 {
		t.Errorf("many: %+v, %v", many, err)
	}
	left, err := s.aws.ListObjectsV2(t.Context(), &aws3.ListObjectsV2Input{Bucket: aws.String("town")})
	if err != nil || len(left.Contents) != 2 {
		t.Errorf("left: %+v, %v", left, err)
	}
}

func TestVersions(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	ctx, town, key := t.Context(), aws.String("town"), aws.String("a")
	s.put("town", "a", "null")
	_, err := s.aws.PutBucketVersioning(ctx, &aws3.PutBucketVersioningInput{Bucket: town, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	s.want("", err, "turn on")
	v, err := s.aws.GetBucketVersioning(ctx, &aws3.GetBucketVersioningInput{Bucket: town})
	if err != nil || v.Status != types.BucketVersioningStatusEnabled {
		t.Errorf("status %+v, %v", v, err)
	}
	one, two := s.put("town", "a", "one"), s.put("town", "a", "two")
	if aws.ToString(one.VersionId) == "" || *one.VersionId == *two.VersionId {
		t.Fatalf("versions %v %v", one.VersionId, two.VersionId)
	}
	gone, err := s.aws.DeleteObject(ctx, &aws3.DeleteObjectInput{Bucket: town, Key: key})
	if err != nil || !aws.ToBool(gone.DeleteMarker) {
		t.Fatalf("marker %+v, %v", gone, err)
	}
	_, err = s.aws.GetObject(ctx, &aws3.GetObjectInput{Bucket: town, Key: key})
	s.want("NoSuchKey", err, "behind a marker")
	_, err = s.aws.GetObject(ctx, &aws3.GetObjectInput{Bucket: town, Key: key, VersionId: gone.VersionId})
	s.want("MethodNotAllowed", err, "the marker itself")
	for want, id := range map[string]*string{"one": one.VersionId, "two": two.VersionId, "null": aws.String("null")} {
		out, err := s.aws.GetObject(ctx, &aws3.GetObjectInput{Bucket: town, Key: key, VersionId: id})
		if err != nil || s.all(out.Body) != want || aws.ToString(out.VersionId) != *id {
			t.Errorf("version %s: %+v, %v", want, out, err)
		}
	}
	list, err := s.aws.ListObjectVersions(ctx, &aws3.ListObjectVersionsInput{Bucket: town})
	if err != nil || len(list.Versions) != 3 || len(list.DeleteMarkers) != 1 || !*list.DeleteMarkers[0].IsLatest || *list.Versions[0].VersionId != *two.VersionId {
		t.Errorf("list: %+v, %v", list, err)
	}
	page, err := s.aws.ListObjectVersions(ctx, &aws3.ListObjectVersionsInput{Bucket: town, MaxKeys: aws.Int32(2)})
	if err != nil || !*page.IsTruncated || len(page.Versions)+len(page.DeleteMarkers) != 2 {
		t.Fatalf("page: %+v, %v", page, err)
	}
	rest, err := s.aws.ListObjectVersions(ctx, &aws3.ListObjectVersionsInput{Bucket: town, KeyMarker: page.NextKeyMarker, VersionIdMarker: page.NextVersionIdMarker})
	if err != nil || len(rest.Versions) != 2 || *rest.IsTruncated {
		t.Errorf("rest: %+v, %v", rest, err)
	}
	_, err = s.aws.DeleteObject(ctx, &aws3.DeleteObjectInput{Bucket: town, Key: key, VersionId: gone.VersionId})
	s.want("", err, "remove the marker")
	if got := s.get("town", "a"); got != "two" {
		t.Errorf("after the marker: %q", got)
	}
	_, err = s.aws.DeleteObject(ctx, &aws3.DeleteObjectInput{Bucket: town, Key: key, VersionId: two.VersionId})
	s.want("", err, "remove a version")
	if got := s.get("town", "a"); got != "one" {
		t.Errorf("after the version: %q", got)
	}
	_, err = s.aws.PutBucketVersioning(ctx, &aws3.PutBucketVersioningInput{Bucket: town, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended}})
	s.want("", err, "suspend")
	s.put("town", "a", "three")
	if out, err := s.aws.GetObject(ctx, &aws3.GetObjectInput{Bucket: town, Key: key, VersionId: aws.String("null")}); err != nil || s.all(out.Body) != "three" {
		t.Errorf("the null version after suspension: %v", err)
	}
}

func TestCopies(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	s.bucket("village")
	ctx := t.Context()
	body := string(noise(300_000))
	_, err := s.aws.PutObject(ctx, &aws3.PutObjectInput{
		Bucket: aws.String("town"), Key: aws.String("a b+c"), Body: strings.NewReader(body), ContentType: aws.String("text/x"),
		Metadata: map[string]string{"k": "v"}, Tagging: aws.String("t=1"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
	})
	s.want("", err, "put")
	before := s.town.stored()
	src := aws.String("town/a%20b%2Bc")
	c, err := s.aws.CopyObject(ctx, &aws3.CopyObjectInput{Bucket: aws.String("village"), Key: aws.String("b"), CopySource: src})
	s.want("", err, "copy")
	if c == nil || c.CopyObjectResult.ETag == nil || s.town.stored() != before {
		t.Errorf("a copy moved bytes: %d, %d", before, s.town.stored())
	}
	if s.get("village", "b") != body {
		t.Error("the copy is another")
	}
	h, err := s.aws.HeadObject(ctx, &aws3.HeadObjectInput{Bucket: aws.String("village"), Key: aws.String("b"), ChecksumMode: types.ChecksumModeEnabled})
	if err != nil || *h.ContentType != "text/x" || h.Metadata["k"] != "v" || *h.TagCount != 1 || h.ChecksumSHA256 == nil {
		t.Errorf("what is said of the copy: %+v, %v", h, err)
	}
	_, err = s.aws.CopyObject(ctx, &aws3.CopyObjectInput{
		Bucket: aws.String("town"), Key: aws.String("a b+c"), CopySource: src, MetadataDirective: types.MetadataDirectiveReplace,
		Metadata: map[string]string{"new": "1"}, ContentType: aws.String("text/y"), TaggingDirective: types.TaggingDirectiveReplace, Tagging: aws.String("u=2&w=3"),
	})
	s.want("", err, "copy onto itself with other words")
	h, err = s.aws.HeadObject(ctx, &aws3.HeadObjectInput{Bucket: aws.String("town"), Key: aws.String("a b+c")})
	if err != nil || *h.ContentType != "text/y" || h.Metadata["new"] != "1" || h.Metadata["k"] != "" || *h.TagCount != 2 || s.get("town", "a b+c") != body {
		t.Errorf("rewritten: %+v, %v", h, err)
	}
	_, err = s.aws.CopyObject(ctx, &aws3.CopyObjectInput{Bucket: aws.String("town"), Key: aws.String("a b+c"), CopySource: src})
	s.want("InvalidRequest", err, "copy onto itself")
	_, err = s.aws.CopyObject(ctx, &aws3.CopyObjectInput{Bucket: aws.String("town"), Key: aws.String("c"), CopySource: src, CopySourceIfMatch: aws.String("other")})
	s.want("PreconditionFailed", err, "copy under a condition")
	_, err = s.aws.CopyObject(ctx, &aws3.CopyObjectInput{Bucket: aws.String("town"), Key: aws.String("c"), CopySource: aws.String("town/none")})
	s.want("NoSuchKey", err, "copy of none")
	_, err = s.aws.CopyObject(ctx, &aws3.CopyObjectInput{Bucket: aws.String("town"), Key: aws.String("crc"), CopySource: src, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c})
	s.want("", err, "copy with another checksum")
	h, err = s.aws.HeadObject(ctx, &aws3.HeadObjectInput{Bucket: aws.String("town"), Key: aws.String("crc"), ChecksumMode: types.ChecksumModeEnabled})
	if err != nil || h.ChecksumCRC32C == nil || s.get("town", "crc") != body {
		t.Errorf("another checksum: %+v, %v", h, err)
	}
	s.put("town", "tiny", "tiny")
	_, err = s.aws.CopyObject(ctx, &aws3.CopyObjectInput{Bucket: aws.String("town"), Key: aws.String("tiny2"), CopySource: aws.String("town/tiny")})
	if s.want("", err, "copy of a tiny one"); s.get("town", "tiny2") != "tiny" {
		t.Error("a tiny copy is another")
	}
}

func TestMultipart(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	ctx, town, key := t.Context(), aws.String("town"), aws.String("film")
	a, b, c := noise(5<<20), noise(5<<20+1), noise(77)
	s.put("town", "source", string(b))
	for _, algo := range []types.ChecksumAlgorithm{"", types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmCrc64nvme, types.ChecksumAlgorithmSha256} {
		up, err := s.aws.CreateMultipartUpload(ctx, &aws3.CreateMultipartUploadInput{Bucket: town, Key: key, ContentType: aws.String("video/x"), Metadata: map[string]string{"m": "1"}, ChecksumAlgorithm: algo})
		if err != nil {
			t.Fatal(err)
		}
		var parts []types.CompletedPart
		part := func(n int32, etag *string, p types.CompletedPart) {
			p.PartNumber, p.ETag = aws.Int32(n), etag
			parts = append(parts, p)
		}
		p1, err := s.aws.UploadPart(ctx, &aws3.UploadPartInput{Bucket: town, Key: key, UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(a), ChecksumAlgorithm: algo})
		if err != nil {
			t.Fatal(err)
		}
		part(1, p1.ETag, types.CompletedPart{ChecksumCRC32: p1.ChecksumCRC32, ChecksumCRC64NVME: p1.ChecksumCRC64NVME, ChecksumSHA256: p1.ChecksumSHA256})
		p2, err := s.aws.UploadPartCopy(ctx, &aws3.UploadPartCopyInput{Bucket: town, Key: key, UploadId: up.UploadId, PartNumber: aws.Int32(2), CopySource: aws.String("town/source")})
		if err != nil {
			t.Fatal(err)
		}
		part(2, p2.CopyPartResult.ETag, types.CompletedPart{ChecksumCRC32: p2.CopyPartResult.ChecksumCRC32, ChecksumCRC64NVME: p2.CopyPartResult.ChecksumCRC64NVME, ChecksumSHA256: p2.CopyPartResult.ChecksumSHA256})
		p3, err := s.aws.UploadPart(ctx, &aws3.UploadPartInput{Bucket: town, Key: key, UploadId: up.UploadId, PartNumber: aws.Int32(7), Body: bytes.NewReader(c), ChecksumAlgorithm: algo})
		if err != nil {
			t.Fatal(err)
		}
		part(7, p3.ETag, types.CompletedPart{ChecksumCRC32: p3.ChecksumCRC32, ChecksumCRC64NVME: p3.ChecksumCRC64NVME, ChecksumSHA256: p3.ChecksumSHA256})
		have, err := s.aws.ListParts(ctx, &aws3.ListPartsInput{Bucket: town, Key: key, UploadId: up.UploadId, MaxParts: aws.Int32(2)})
		if err != nil || len(have.Parts) != 2 || !*have.IsTruncated || *have.NextPartNumberMarker != "2" || *have.Parts[1].Size != int64(len(b)) {
			t.Errorf("parts: %+v, %v", have, err)
		}
		ups, err := s.aws.ListMultipartUploads(ctx, &aws3.ListMultipartUploadsInput{Bucket: town})
		if err != nil || len(ups.Uploads) != 1 || *ups.Uploads[0].UploadId != *up.UploadId {
			t.Errorf("uploads: %+v, %v", ups, err)
		}
		wrong := slices.Clone(parts)
		wrong[0].ETag = aws.String(`"ffffffffffffffffffffffffffffffff"`)
		_, err = s.aws.CompleteMultipartUpload(ctx, &aws3.CompleteMultipartUploadInput{Bucket: town, Key: key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: wrong}})
		s.want("InvalidPart", err, "another part")
		_, err = s.aws.CompleteMultipartUpload(ctx, &aws3.CompleteMultipartUploadInput{Bucket: town, Key: key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{parts[1], parts[0]}}})
		s.want("InvalidPartOrder", err, "out of order")
		_, err = s.aws.CompleteMultipartUpload(ctx, &aws3.CompleteMultipartUploadInput{Bucket: town, Key: key, UploadId: up.UploadId, MpuObjectSize: aws.Int64(9), MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
		s.want("InvalidRequest", err, "another size")
		done, err := s.aws.CompleteMultipartUpload(ctx, &aws3.CompleteMultipartUploadInput{Bucket: town, Key: key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
		if err != nil || !strings.HasSuffix(*done.ETag, `-3"`) {
			t.Fatalf("%s: complete: %+v, %v", algo, done, err)
		}
		again, err := s.aws.CompleteMultipartUpload(ctx, &aws3.CompleteMultipartUploadInput{Bucket: town, Key: key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
		if err != nil || *again.ETag != *done.ETag {
			t.Errorf("complete it again: %+v, %v", again, err)
		}
		whole := string(a) + string(b) + string(c)
		got, err := s.aws.GetObject(ctx, &aws3.GetObjectInput{Bucket: town, Key: key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil || s.all(got.Body) != whole || *got.ContentType != "video/x" || got.Metadata["m"] != "1" {
			t.Errorf("%s: the whole is another: %v", algo, err)
		}
		if (algo == types.ChecksumAlgorithmCrc32 && !strings.HasSuffix(aws.ToString(got.ChecksumCRC32), "-3")) || (algo == types.ChecksumAlgorithmCrc64nvme && aws.ToString(got.ChecksumCRC64NVME) == "") {
			t.Errorf("%s: checksums of the whole: %v %v", algo, got.ChecksumCRC32, got.ChecksumCRC64NVME)
		}
		second, err := s.aws.GetObject(ctx, &aws3.GetObjectInput{Bucket: town, Key: key, PartNumber: aws.Int32(2)})
		if err != nil || s.all(second.Body) != string(b) || *second.PartsCount != 3 {
			t.Errorf("part 2: %+v, %v", second, err)
		}
		attrs, err := s.aws.GetObjectAttributes(ctx, &aws3.GetObjectAttributesInput{Bucket: town, Key: key, ObjectAttributes: []types.ObjectAttributes{types.ObjectAttributesObjectParts, types.ObjectAttributesEtag, types.ObjectAttributesObjectSize}})
		if err != nil || *attrs.ObjectSize != int64(len(whole)) || len(attrs.ObjectParts.Parts) != 3 {
			t.Errorf("attributes: %+v, %v", attrs, err)
		}
	}
	up, err := s.aws.CreateMultipartUpload(ctx, &aws3.CreateMultipartUploadInput{Bucket: town, Key: aws.String("x")})
	s.want("", err, "begin")
	small := &types.CompletedMultipartUpload{}
	for n := range int32(2) {
		p, err := s.aws.UploadPart(ctx, &aws3.UploadPartInput{Bucket: town, Key: aws.String("x"), UploadId: up.UploadId, PartNumber: aws.Int32(n + 1), Body: bytes.NewReader(c)})
		s.want("", err, "small part")
		small.Parts = append(small.Parts, types.CompletedPart{PartNumber: aws.Int32(n + 1), ETag: p.ETag})
	}
	_, err = s.aws.CompleteMultipartUpload(ctx, &aws3.CompleteMultipartUploadInput{Bucket: town, Key: aws.String("x"), UploadId: up.UploadId, MultipartUpload: small})
	s.want("EntityTooSmall", err, "small parts")
	_, err = s.aws.AbortMultipartUpload(ctx, &aws3.AbortMultipartUploadInput{Bucket: town, Key: aws.String("x"), UploadId: up.UploadId})
	s.want("", err, "abort")
	_, err = s.aws.UploadPart(ctx, &aws3.UploadPartInput{Bucket: town, Key: aws.String("x"), UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(c)})
	s.want("NoSuchUpload", err, "a part of what was aborted")
	s.empty("town", "x")
}

func TestCopiesOfPartsDontWaitForEachOther(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	ctx, town, key := t.Context(), aws.String("town"), aws.String("joined")
	body := noise(12 << 20)
	s.put("town", "source", string(body))
	up, err := s.aws.CreateMultipartUpload(ctx, &aws3.CreateMultipartUploadInput{Bucket: town, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	parts := make([]types.CompletedPart, 10)
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			n := aws.Int32(int32(i + 1))
			p, err := s.aws.UploadPartCopy(ctx, &aws3.UploadPartCopyInput{
				Bucket: town, Key: key, UploadId: up.UploadId, PartNumber: n, CopySource: aws.String("town/source"),
				CopySourceRange: aws.String("bytes=100-9000000"),
			})
			if errs[i] = err; err == nil {
				parts[i] = types.CompletedPart{PartNumber: n, ETag: p.CopyPartResult.ETag}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	_, err = s.aws.CompleteMultipartUpload(ctx, &aws3.CompleteMultipartUploadInput{
		Bucket: town, Key: key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if s.want("", err, "complete"); s.get("town", "joined") != strings.Repeat(string(body[100:9000001]), len(parts)) {
		t.Error("the copied parts aren't what they were copied from")
	}
}
