// Package token signs and verifies the two tokens of a visitor: the place, which
// proves a number in a line, and the pass, which opens the shop. Both are JWTs
// (RFC 7519), and their `kid` names the key that signed them.
//
// A pass is signed with Ed25519 (RFC 8037), so that a shop verifies it with public
// keys. A place never leaves the fleet: pages hand it back unread. It is signed
// with HMAC-SHA-256, a tenth of the work at each join, by a secret derived
// from the same private key. So a Verifier reads passes only, a Keyring places.
// The call decides the algorithm: a token's own `alg` and `typ` choose nothing.
//
// The first key of a keyring signs, all of them verify. To rotate in a fleet, add
// a key that only verifies (`waitroom keys new --standby`), restart every node,
// let it sign (`waitroom keys promote`), restart every node again: a node that met
// a place of a key it does not know would call it foreign, and the page would drop
// it. Drop the oldest once no token of it can be alive: a place lives as long as
// its epoch, a pass for pass_ms.
//
// What verifies, keeps this order: size, form, signature, kind, room, time. So
// nothing unsigned decides which error a stranger is told, but its form.
package token

import "errors"

// What is wrong with a token. ErrKeysAway is not the token's fault: no public key
// could be read yet, so the same token may be good in a moment.
var (
	ErrMalformed = errors.New("token is malformed")
	ErrForeign   = errors.New("token is not signed by this waiting room")
	ErrExpired   = errors.New("token has expired")
	ErrOtherRoom = errors.New("token is for another room")
	ErrKeysAway  = errors.New("public keys are out of reach")
)

// MaxToken bounds a token in bytes. The longest we sign has about 450; what is
// longer is refused before it is decoded.
const MaxToken = 1024

// MaxKeys bounds a key set: a rotation needs two, and every key costs memory and
// a look-up only.
const MaxKeys = 32

// Kinds and names inside the tokens; PROTOCOL.md shows them.
const (
	typPlace = "place"
	typPass  = "pass"
	issuer   = "waitroom"
	lineName = "line" // one line per room today; the claim keeps a second one possible
)
