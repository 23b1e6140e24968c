package seat

import (
	"crypto/rand"
	"errors"
	"strings"
)

// ErrReference is a booking's reference that was mistyped or misheard.
var ErrReference = errors.New("booking reference must be 8 characters that fit together")

// referenceAlphabet is Crockford's base32: no I, L, O and U, which are misread.
const referenceAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// referenceLength is 7 characters by chance, 35 bits, and one that checks them.
const referenceLength = 8

// NewReference returns a fresh reference of a booking, as a person reads it aloud.
func NewReference() string {
	var random [referenceLength - 1]byte
	rand.Read(random[:])
	var digits [referenceLength]byte
	for i, b := range random {
		digits[i] = b & 31
	}
	digits[referenceLength-1] = checkDigit(digits[:referenceLength-1])
	for i, d := range digits {
		digits[i] = referenceAlphabet[d]
	}
	return string(digits[:])
}

// ParseReference returns a reference as it is stored, from what a person wrote: in any
// case, with spaces and dashes, I and L for 1 and O for 0. One wrong character, or two
// neighbours the wrong way round, is ErrReference.
func ParseReference(s string) (string, error) {
	s = strings.NewReplacer(" ", "", "-", "", "I", "1", "L", "1", "O", "0").Replace(strings.ToUpper(s))
	if len(s) != referenceLength {
		return "", ErrReference
	}
	var digits [referenceLength]byte
	for i := range s {
		d := strings.IndexByte(referenceAlphabet, s[i])
		if d < 0 {
			return "", ErrReference
		}
		digits[i] = byte(d)
	}
	if digits[referenceLength-1] != checkDigit(digits[:referenceLength-1]) {
		return "", ErrReference
	}
	return s, nil
}

// checkDigit makes the sum of all digits, each times its own power of 2 in the field of
// 32 elements, zero: so any single wrong digit and any two that change places show.
func checkDigit(digits []byte) byte {
	var sum byte
	for _, d := range digits {
		sum = double(sum ^ d)
	}
	return sum
}

// double is the product with 2 in that field, modulo x⁵+x²+1.
func double(d byte) byte {
	if d <<= 1; d&32 != 0 {
		d ^= 0b100101
	}
	return d
}
