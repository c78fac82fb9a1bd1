package s3

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"strings"
	"time"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"

	"hearth/storage/index"
)

// A lifecycle says what becomes of a bucket's objects as they grow old.
type lifecycle struct {
	XMLName xml.Name        `xml:"LifecycleConfiguration"`
	Rules   []lifecycleRule `xml:"Rule"`
}

type lifecycleRule struct {
	ID     string
	Status string
	Prefix *string // the older form
	Filter *struct {
		lifecycleTerms
		And *lifecycleTerms
	}
	Expiration *struct {
		Days   int
		Date   *time.Time
		Marker bool `xml:"ExpiredObjectDeleteMarker"`
	}
	Noncurrent *struct {
		Days  int `xml:"NoncurrentDays"`
		Newer int `xml:"NewerNoncurrentVersions"`
	} `xml:"NoncurrentVersionExpiration"`
	Abort *struct {
		Days int `xml:"DaysAfterInitiation"`
	} `xml:"AbortIncompleteMultipartUpload"`
	Transition           []struct{} // not done
	NoncurrentTransition []struct{} `xml:"NoncurrentVersionTransition"` // not done
}

type lifecycleTerms struct {
	Prefix  string
	Tags    []lifecycleTag `xml:"Tag"`
	Larger  *int64         `xml:"ObjectSizeGreaterThan"`
	Smaller *int64         `xml:"ObjectSizeLessThan"`
}

type lifecycleTag struct{ Key, Value string }

const maxRules = 1000

var lifecycleSetting = setting{
	get: auth.GetLifecycleConfigurationAction, put: auth.PutLifecycleConfigurationAction,
	read: func(d *Door, bucket string) ([]byte, error) {
		return d.back.doc(bucket, docLifecycle, s3err.APIError{
			Code: "NoSuchLifecycleConfiguration", Description: "The lifecycle configuration does not exist", HTTPStatusCode: http.StatusNotFound,
		})
	},
	write: func(d *Door, bucket string, doc []byte) error {
		if doc == nil {
			return d.back.dropDoc(bucket, docLifecycle)
		}
		if _, err := parseLifecycle(doc); err != nil {
			return err
		}
		return d.back.setDoc(bucket, docLifecycle, doc[rootOf(doc):])
	},
}

// rootOf is where a well-formed document's first element begins.
func rootOf(doc []byte) int64 {
	for d := xml.NewDecoder(bytes.NewReader(doc)); ; {
		at := d.InputOffset()
		t, err := d.RawToken()
		if _, ok := t.(xml.StartElement); ok || err != nil {
			return at
		}
	}
}

// parseLifecycle reads rules and refuses what the door doesn't do.
func parseLifecycle(doc []byte) (lifecycle, error) {
	var l lifecycle
	if err := xml.Unmarshal(doc, &l); err != nil || len(l.Rules) == 0 || len(l.Rules) > maxRules {
		return l, s3err.GetAPIError(s3err.ErrMalformedXML)
	}
	for _, r := range l.Rules {
		switch {
		case len(r.Transition) > 0 || len(r.NoncurrentTransition) > 0:
			return l, s3err.GetNotImplementedErr("Transition", "") // there is one class of storage
		case r.Status != "Enabled" && r.Status != "Disabled", r.Expiration == nil && r.Noncurrent == nil && r.Abort == nil,
			r.Expiration != nil && (r.Expiration.Days < 0 || r.Expiration.Days == 0 && r.Expiration.Date == nil && !r.Expiration.Marker),
			r.Noncurrent != nil && r.Noncurrent.Days <= 0, r.Abort != nil && r.Abort.Days <= 0,
			r.Abort != nil && r.ofSome(): // an upload has no size yet, and its tags are the object's to be
			return l, s3err.GetAPIError(s3err.ErrMalformedXML)
		}
	}
	return l, nil
}

// terms are what an object must be for the rule to hold.
func (r *lifecycleRule) terms() lifecycleTerms {
	switch {
	case r.Filter != nil && r.Filter.And != nil:
		return *r.Filter.And
	case r.Filter != nil:
		return r.Filter.lifecycleTerms
	case r.Prefix != nil:
		return lifecycleTerms{Prefix: *r.Prefix}
	}
	return lifecycleTerms{}
}

// ofSome says whether the rule is for some of a prefix's objects.
func (r *lifecycleRule) ofSome() bool {
	t := r.terms()
	return len(t.Tags) > 0 || t.Larger != nil || t.Smaller != nil
}

// holds says whether the rule is for an object.
func (t lifecycleTerms) holds(o index.Object) bool {
	if !strings.HasPrefix(o.Key, t.Prefix) || t.Larger != nil && o.Size <= *t.Larger || t.Smaller != nil && o.Size >= *t.Smaller {
		return false
	}
	for _, tag := range t.Tags {
		if v, ok := o.Tags[tag.Key]; !ok || v != tag.Value {
			return false
		}
	}
	return true
}

// days says whether so many days have passed since a moment.
func days(n int, since, now int64) bool { return now-since >= int64(n)*24*3600 }

// ended says whether the newest version of a key has had its time.
func (r *lifecycleRule) ended(o index.Object, now int64) bool {
	e := r.Expiration
	if e == nil || o.Marker || !r.terms().holds(o) {
		return false
	}
	return e.Days > 0 && days(e.Days, o.Created, now) || e.Date != nil && now >= e.Date.Unix()
}
