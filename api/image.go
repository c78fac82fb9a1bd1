package api

import "time"

// An Image is a container image in the account's storage: one for one platform, or
// an index of such.
type Image struct {
	Name      string    `json:"name"`
	Tags      []string  `json:"tags" nullable:"false"`
	Digest    string    `json:"digest" doc:"sha256:... of its manifest"`
	Size      int64     `json:"size" doc:"Bytes of all its parts; images may share some"`
	Platforms []string  `json:"platforms" nullable:"false" doc:"Like linux/amd64"`
	Pushed    time.Time `json:"pushed"`
}

// Images are those of the account.
type Images struct {
	Images []Image `json:"images" nullable:"false"`
}

// ImageDoor is the node's registry of images, for docker, podman and their like.
type ImageDoor struct {
	Open     bool   `json:"open"`
	Address  string `json:"address" doc:"host:port that images' names begin with; empty where it isn't open"`
	User     string `json:"user" doc:"To log in with"`
	Password string `json:"password,omitempty" doc:"Only where it is asked for"`
	Problem  string `json:"problem,omitempty" doc:"Why the door isn't open though the settings say so"`
}
