package instance_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"hearth/core/fault"
	"hearth/core/instance"
)

func file(name, value string) instance.Secret {
	return instance.Secret{Name: name, Value: []byte(value)}
}

func TestSecretsThatNoHostTakesAreRefused(t *testing.T) {
	full := make([]instance.Secret, 17)
	for i := range full {
		full[i] = file(fmt.Sprintf("%02d", i), strings.Repeat("x", instance.MaxSecret))
	}
	many := make([]instance.Secret, instance.MaxSecrets+1)
	for i := range many {
		many[i] = file(fmt.Sprintf("%02d", i), "")
	}
	for name, tt := range map[string]struct {
		files []instance.Secret
		code  fault.Code
	}{
		"one": {[]instance.Secret{file("a", "b")}, ""}, "empty ones": {many[:instance.MaxSecrets], ""}, "as much as fits": {full[:16], ""},
		"none": {nil, fault.TooLarge}, "too many": {many, fault.TooLarge}, "too much in all": {full, fault.TooLarge},
		"a large one": {[]instance.Secret{file("a", strings.Repeat("x", instance.MaxSecret+1))}, fault.TooLarge},
		"twice":       {[]instance.Secret{file("a", ""), file("a", "")}, fault.BadRequest}, "out of order": {[]instance.Secret{file("b", ""), file("a", "")}, fault.BadRequest},
		"no name": {[]instance.Secret{file("", "")}, fault.BadName}, "upwards": {[]instance.Secret{file("..", "")}, fault.BadName},
		"elsewhere": {[]instance.Secret{file("a/b", "")}, fault.BadName}, "a name that paints": {[]instance.Secret{file("\x1b[31m", "")}, fault.BadName},
		"a long name": {[]instance.Secret{file(strings.Repeat("a", instance.MaxSecretName+1), "")}, fault.BadName},
	} {
		s := instance.Secrets{Key: [32]byte{7}, Files: tt.files}
		if err := s.Check(); fault.CodeOf(err) != tt.code && !(err == nil && tt.code == "") {
			t.Errorf("%s: %v, want %q", name, err, tt.code)
		}
		b := s.Encode()
		got, err := instance.DecodeSecrets(b)
		if (err == nil) != (tt.code == "") || err == nil && (!bytes.Equal(got.Encode(), b) || got.Commitment() != s.Commitment() || len(b) > instance.MaxSecretsCoded) {
			t.Errorf("%s, read: %v", name, err)
		}
	}
}

// A commitment stands for these files and this key alone. Without the key, which is in
// no spec, a guess can't be tried.
func TestACommitmentIsOfOneKeyAndTheseFiles(t *testing.T) {
	seen := map[[32]byte]string{}
	for name, s := range map[string]instance.Secrets{
		"as it is": {Files: []instance.Secret{file("a", "bc")}}, "another key": {Key: [32]byte{1}, Files: []instance.Secret{file("a", "bc")}},
		"another value": {Files: []instance.Secret{file("a", "bd")}}, "moved": {Files: []instance.Secret{file("ab", "c")}},
		"two": {Files: []instance.Secret{file("a", "bc"), file("b", "")}},
	} {
		if other := seen[s.Commitment()]; other != "" {
			t.Errorf("%s and %s have one commitment", name, other)
		}
		seen[s.Commitment()] = name
	}
}

func TestASecretThatIsPrintedShowsItsName(t *testing.T) {
	s := instance.Secrets{Key: [32]byte{'k', 'k', 'k', 'k'}, Files: []instance.Secret{file("api.key", "hunter2")}}
	j, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		j = fmt.Append(j, fmt.Sprintf(form, s), fmt.Sprintf(form, &s), fmt.Sprintf(form, s.Files), errors.New(fmt.Sprint(s)))
	}
	for _, part := range []string{"hunter2", "68756e74", "104 117", "aHVudGVyMg", "kkkk", "107 107", "6b6b"} {
		if bytes.Contains(j, []byte(part)) {
			t.Errorf("%q is in %s", part, j)
		}
	}
	if !bytes.Contains(j, []byte("api.key")) {
		t.Errorf("%s", j)
	}
}

func FuzzDecodeSecrets(f *testing.F) {
	f.Add(instance.Secrets{Key: [32]byte{1}, Files: []instance.Secret{file("a", "b")}}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := instance.DecodeSecrets(b); err == nil && !bytes.Equal(s.Encode(), b) {
			t.Fatalf("%x is read as what is written %x", b, s.Encode())
		}
	})
}
