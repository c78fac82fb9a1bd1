package api

import "time"

// S3Door is the node's S3 endpoint.
type S3Door struct {
	Open        bool   `json:"open"`
	Endpoint    string `json:"endpoint" doc:"URL for clients; empty where it isn't open"`
	Region      string `json:"region" doc:"What clients sign for"`
	Domain      string `json:"domain" doc:"BUCKET.domain names a bucket by its host name"`
	Website     string `json:"website" doc:"BUCKET.website shows a bucket's website"`
	Certificate string `json:"certificate,omitempty" doc:"File of the certificate that clients need where it is self-signed"`
	Problem     string `json:"problem,omitempty" doc:"Why the door isn't open though the settings say so"`
}

// S3At is where the door opens when nobody says where.
const S3At = "127.0.0.1:9478"

// S3Listen says where the door opens.
type S3Listen struct {
	Listen string `json:"listen" example:"127.0.0.1:9478"`
	TLS    bool   `json:"tls" doc:"With the configured certificate, or a self-signed one"`
}

// S3KeyWish is a key to be made. What is left out isn't limited.
type S3KeyWish struct {
	Name      string    `json:"name,omitempty" maxLength:"64"`
	Bucket    string    `json:"bucket,omitempty" doc:"The only bucket"`
	Prefix    string    `json:"prefix,omitempty" doc:"Only keys that begin so"`
	ReadOnly  bool      `json:"read_only,omitempty"`
	WriteOnly bool      `json:"write_only,omitempty" doc:"Only put objects: neither read, list nor remove"`
	Expires   time.Time `json:"expires,omitzero"`
	Quota     int64     `json:"quota,omitempty" minimum:"0" doc:"Bytes that may lie in all that the key reaches"`
}

// An S3Key opens the door.
type S3Key struct {
	Access     string     `json:"access_key"`
	Secret     string     `json:"secret_key,omitempty" doc:"Only where it is asked for"`
	Name       string     `json:"name"`
	Created    time.Time  `json:"created"`
	Bucket     string     `json:"bucket" doc:"The only bucket; empty: any"`
	Prefix     string     `json:"prefix" doc:"Only keys that begin so; empty: any"`
	Operations []string   `json:"operations" nullable:"false" doc:"read, list, write, delete, manage"`
	Expires    *time.Time `json:"expires,omitempty"`
	Quota      *int64     `json:"quota,omitempty" doc:"Bytes"`
}

// S3Keys are all keys of the door.
type S3Keys struct {
	Keys []S3Key `json:"keys" nullable:"false"`
}
