package api

import "time"

// A ShareWish asks for a link.
type ShareWish struct {
	Bucket string    `json:"bucket" maxLength:"63"`
	Key    string    `json:"key" maxLength:"1024"`
	Prefix bool      `json:"prefix,omitempty" doc:"All objects whose keys begin with key, as they are now"`
	Until  time.Time `json:"until" doc:"At most 366 days ahead"`
	Pay    *Money    `json:"pay,omitempty" doc:"The most that reading may cost the owner, put aside at once; without it readers pay"`
}

// A Share is a link that was given out.
type Share struct {
	Serial  string    `json:"serial" doc:"Revokes it"`
	Name    string    `json:"name" doc:"bucket/key, or bucket/prefix"`
	Until   time.Time `json:"until"`
	Created time.Time `json:"created"`
	Objects int       `json:"objects"`
	Bytes   int64     `json:"bytes"`
	Pay     Money     `json:"pay" doc:"The most that reading costs the owner; 0: readers pay"`
	Link    string    `json:"link,omitempty" doc:"Shown once: who has it can read"`
}

// Shares are the links of the account that hold.
type Shares struct {
	Shares []Share `json:"shares" nullable:"false"`
}

// A Revoked is a link that holds no more.
type Revoked struct {
	Share  Share    `json:"share"`
	Untold []string `json:"untold" nullable:"false" doc:"Hosts that couldn't be told yet; the node goes on trying"`
}

// A LinkWish is a link, and what is wanted of it.
type LinkWish struct {
	Link string `json:"link" maxLength:"32768"`
	Key  string `json:"key,omitempty" maxLength:"1024"`
}

// A Linked is what a link opens.
type Linked struct {
	Name    string    `json:"name" doc:"bucket/key, or bucket/prefix"`
	Owner   string    `json:"owner"`
	Until   time.Time `json:"until"`
	Paid    bool      `json:"paid" doc:"The owner pays for reading"`
	Objects []Object  `json:"objects" nullable:"false"`
}
