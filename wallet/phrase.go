package wallet

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cosmos/go-bip39"

	"hearth/core/fault"
)

// Words is how many a recovery phrase has.
const Words = 12

// A Phrase is a valid recovery phrase (BIP39, English). The zero Phrase is none.
type Phrase struct {
	redacted
	words *string
}

// NewPhrase makes a phrase of 128 random bits.
func NewPhrase() (Phrase, error) {
	var entropy [16]byte
	if _, err := rand.Read(entropy[:]); err != nil {
		return Phrase{}, fmt.Errorf("make recovery phrase: %w", err)
	}
	words, err := bip39.NewMnemonic(entropy[:])
	if err != nil {
		return Phrase{}, fmt.Errorf("make recovery phrase: %w", err)
	}
	return Phrase{words: &words}, nil
}

// ParsePhrase reads a phrase as people type it: in any case, with any space
// between the words, numbered or not. An error says which word is wrong by its
// place, not by repeating it.
func ParsePhrase(s string) (Phrase, error) {
	if len(s) > 1024 {
		return Phrase{}, fault.New(fault.BadPhrase, "read recovery phrase: %d bytes are too many", len(s))
	}
	var words []string
	for _, w := range strings.Fields(strings.ToLower(s)) {
		if strings.Trim(w, "0123456789.)") != "" { // else the number before a word
			words = append(words, w)
		}
	}
	for i, w := range words {
		if _, ok := bip39.ReverseWordMap[w]; !ok {
			return Phrase{}, fault.New(fault.BadPhrase, "read recovery phrase: word %d of %d isn't in the list of words", i+1, len(words))
		}
	}
	if len(words) != Words {
		return Phrase{}, fault.New(fault.BadPhrase, "read recovery phrase: it has %d words, want %d", len(words), Words)
	}
	clean := strings.Join(words, " ")
	if !checksum(words) {
		return Phrase{}, fault.New(fault.BadPhrase, "read recovery phrase: the checksum doesn't match: a word is wrong or in the wrong place")
	}
	return Phrase{words: &clean}, nil
}

// checksum compares the last 4 of the words' 132 bits with the hash of the rest.
func checksum(words []string) bool {
	var hi, lo uint64 // 128 bits
	var last uint64
	for i, w := range words {
		last = uint64(bip39.ReverseWordMap[w])
		n, bits := last, uint(11)
		if i == Words-1 {
			n, bits = last>>4, 7
		}
		hi, lo = hi<<bits|lo>>(64-bits), lo<<bits|n
	}
	var entropy [16]byte
	binary.BigEndian.PutUint64(entropy[:8], hi)
	binary.BigEndian.PutUint64(entropy[8:], lo)
	sum := sha256.Sum256(entropy[:])
	return uint64(sum[0]>>4) == last&15
}

// Reveal is the phrase itself: lower case, single spaces.
func (p Phrase) Reveal() string {
	if p.words == nil {
		return ""
	}
	return *p.words
}

// IsZero says whether there is no phrase.
func (p Phrase) IsZero() bool { return p.words == nil }

// seed is what every key comes from. There is no second password: the words are all.
func (p Phrase) seed() []byte { return bip39.NewSeed(p.Reveal(), "") }
