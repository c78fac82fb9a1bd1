package image

import "golang.org/x/sys/unix"

// freeAt is how many bytes of dir's disk are free, and whether few files are.
func freeAt(dir string) (free int64, few bool, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false, err
	}
	return int64(s.Bavail * uint64(s.Bsize)), s.Files > 0 && s.Ffree < s.Files/freeOfMany, nil
}
