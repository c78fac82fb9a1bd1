package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	vgw "github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"hearth/core/capability"
	"hearth/storage/index"
)

// CompleteMultipartUpload makes one object of parts, all at once.
func (b *backend) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (out s3response.CompleteMultipartUploadResult, version string, err error) {
	at, id := ref(in.Bucket, in.Key, nil), str(in.UploadId)
	if err := b.may(ctx, capability.Write, at.Bucket, at.Key); err != nil {
		return out, "", err
	}
	u, err := b.upload(at, id)
	if errors.Is(err, s3err.GetNoSuchUploadErr(id)) {
		if o, e := b.c.Index.Head(b.ctx, at); e == nil && o.Extra[wordUpload] == id {
			return completed(o), str(shown(o, "")), nil
		}
	}
	if err != nil {
		return out, "", err
	}
	have, err := b.allParts(u)
	if err != nil {
		return out, "", err
	}
	want, kind := sumOf(u.Extra)
	if t := str(&in.ChecksumType); t != "" && types.ChecksumType(t) != kind {
		if kind == "" {
			kind = "null"
		}
		return out, "", s3err.GetChecksumTypeMismatchOnMpErr(kind)
	}
	refs, sizes, err := choose(id, have, in.MultipartUpload.Parts, want.algo)
	if err != nil {
		return out, "", err
	}
	tag, err := vgw.ComputeMultipartETagFromPartETags(in.MultipartUpload.Parts)
	if err != nil {
		return out, "", err
	}
	extra := map[string]string{wordUpload: id, wordParts: writeParts(sizes)}
	if want.algo != "" {
		whole, err := joined(want.algo, kind, have, refs)
		if err != nil {
			return out, "", b.fail(err, at)
		}
		extra[wordSum] = whole.word(kind)
		if got := given("", [...]*string{
			in.ChecksumCRC32, in.ChecksumCRC32C, in.ChecksumCRC64NVME, in.ChecksumSHA1, in.ChecksumSHA256,
			in.ChecksumSHA512, in.ChecksumMD5, in.ChecksumXXHASH64, in.ChecksumXXHASH3, in.ChecksumXXHASH128,
		}); got.value != "" && got != whole && got.value != strings.Split(whole.value, "-")[0] {
			return out, "", s3err.GetChecksumBadDigestErr(got.algo)
		}
	}
	if err := ofSize(in.MpuObjectSize, sizes); err != nil {
		return out, "", err
	}
	when, err := b.condition(at, in.IfMatch, in.IfNoneMatch)
	if err != nil {
		return out, "", err
	}
	o, err := b.c.Index.CompleteUpload(b.ctx, at, id, refs, index.Draft{Ref: at, ETag: strings.Trim(tag, `"`), Extra: extra, If: when})
	if err != nil {
		if told := b.refused(err, at, when); !errors.Is(told, s3err.GetAPIError(s3err.ErrNoSuchKey)) {
			return out, "", told
		}
		return out, "", s3err.GetNoSuchUploadErr(id)
	}
	return completed(o), str(shown(o, "")), nil
}

func completed(o index.Object) s3response.CompleteMultipartUploadResult {
	s, kind := sumOf(o.Extra)
	return s3response.CompleteMultipartUploadResult{
		Bucket: ptr(o.Bucket), Key: ptr(o.Key), ETag: ptr(etag(o)), ChecksumType: opt(kind), ChecksumCRC32: s.of(types.ChecksumAlgorithmCrc32),
		ChecksumCRC32C: s.of(types.ChecksumAlgorithmCrc32c), ChecksumCRC64NVME: s.of(types.ChecksumAlgorithmCrc64nvme),
		ChecksumSHA1: s.of(types.ChecksumAlgorithmSha1), ChecksumSHA256: s.of(types.ChecksumAlgorithmSha256),
	}
}

// ofSize compares the size that a client says with that of the parts.
func ofSize(said *int64, sizes []int64) error {
	var total int64
	for _, n := range sizes {
		total += n
	}
	if said != nil && *said != total {
		return s3err.GetIncorrectMpObjectSizeErr(*said, total)
	}
	return nil
}

// allParts are the parts of an upload by their numbers.
func (b *backend) allParts(u index.Upload) (map[int]index.Part, error) {
	out := make(map[int]index.Part)
	for after := 0; ; {
		page, err := b.c.Index.Parts(b.ctx, u.Ref, u.ID, after, index.MaxList)
		if err != nil {
			return nil, b.lost(err, u.Ref, u.ID)
		}
		for _, p := range page {
			out[p.Number], after = p, p.Number
		}
		if len(page) < index.MaxList {
			return out, nil
		}
	}
}

// choose checks the parts that a client names: in order, as they came, and none
// but the last too small.
func choose(id string, have map[int]index.Part, named []types.CompletedPart, algo types.ChecksumAlgorithm) (refs []index.PartRef, sizes []int64, err error) {
	last := 0
	for i, n := range named {
		if n.PartNumber == nil || n.ETag == nil {
			return nil, nil, s3err.GetAPIError(s3err.ErrMalformedXML)
		}
		number := int(*n.PartNumber)
		if number < 1 {
			return nil, nil, s3err.GetInvalidArgumentErr(s3err.InvalidArgCompleteMpPartNumber, fmt.Sprint(number))
		}
		if number <= last {
			return nil, nil, s3err.GetAPIError(s3err.ErrInvalidPartOrder)
		}
		last = number
		p, ok := have[number]
		if !ok || p.ETag != strings.Trim(*n.ETag, `"`) {
			return nil, nil, s3err.GetInvalidPartErr(id, int32(number), str(n.ETag))
		}
		if i < len(named)-1 && p.Size < vgw.MinPartSize {
			return nil, nil, s3err.GetEntityTooSmallErr(p.Size, vgw.MinPartSize)
		}
		s, _ := sumOf(p.Extra)
		said := given("", [...]*string{
			n.ChecksumCRC32, n.ChecksumCRC32C, n.ChecksumCRC64NVME, n.ChecksumSHA1, n.ChecksumSHA256,
			n.ChecksumSHA512, n.ChecksumMD5, n.ChecksumXXHASH64, n.ChecksumXXHASH3, n.ChecksumXXHASH128,
		})
		if said.value != "" && (algo != "" || s.algo == said.algo) && said != s {
			return nil, nil, s3err.GetInvalidPartErr(id, int32(number), str(n.ETag))
		}
		refs, sizes = append(refs, index.PartRef{Number: number, ETag: p.ETag}), append(sizes, p.Size)
	}
	return refs, sizes, nil
}

// joined is the checksum of the whole: computed from those of the parts without
// reading them, or made over them.
func joined(algo types.ChecksumAlgorithm, kind types.ChecksumType, have map[int]index.Part, refs []index.PartRef) (sum, error) {
	if kind == types.ChecksumTypeComposite {
		over, err := utils.NewCompositeChecksumReader(utils.HashType(strings.ToLower(string(algo))))
		if err != nil {
			return sum{}, err
		}
		for _, r := range refs {
			s, _ := sumOf(have[r.Number].Extra)
			if err := over.Process(s.value); err != nil {
				return sum{}, err
			}
		}
		return sum{algo, fmt.Sprintf("%s-%d", over.Sum(), len(refs))}, nil
	}
	whole := ""
	for i, r := range refs {
		s, _ := sumOf(have[r.Number].Extra)
		if i == 0 {
			whole = s.value
			continue
		}
		var err error
		if whole, err = utils.AddCRCChecksum(algo, whole, s.value, have[r.Number].Size); err != nil {
			return sum{}, err
		}
	}
	return sum{algo, whole}, nil
}
