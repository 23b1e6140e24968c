package token

import (
	"crypto/ed25519"
	"crypto/sha256"
	"sync"
)

// verifiedMost is half of the passes that are remembered, at 440 bytes each: 44 MB for
// 100,000. That is a shop that lets in 160 a second for ten minutes each.
const verifiedMost = 50_000

// verified remembers whose signature was found good, since one visitor shows the same
// pass with every call. Nothing is remembered of what was refused: strangers can write
// as many texts as they like, and each would push out a visitor.
//
// It has two halves. What is found in the older one moves to the newer; when the newer
// is full, the older is forgotten and takes its place. So a pass that is shown is kept
// while fewer than verifiedMost others come, and no list has to be kept in order.
type verified struct {
	most int // of one half; set once

	mu           sync.Mutex
	newer, older map[digest]claimed // guarded by mu
}

// digest is SHA-256 of the whole text: nobody can make two texts with one digest, and no
// pass is kept as it was shown.
type digest [sha256.Size]byte

// claimed is what a text was found to say, and by which key. Its time and room are looked
// at each time, and so is whether the key still verifies.
type claimed struct {
	pass Pass
	kid  string
	key  ed25519.PublicKey
}

func newVerified(most int) *verified {
	return &verified{most: most, newer: map[digest]claimed{}}
}

func (v *verified) find(d digest) (claimed, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c, ok := v.newer[d]; ok {
		return c, true
	}
	c, ok := v.older[d]
	if ok {
		delete(v.older, d)
		v.put(d, c)
	}
	return c, ok
}

func (v *verified) keep(d digest, c claimed) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.put(d, c)
}

// put keeps one; mu is held.
func (v *verified) put(d digest, c claimed) {
	if _, known := v.newer[d]; !known && len(v.newer) >= v.most {
		v.newer, v.older = map[digest]claimed{}, v.newer
	}
	v.newer[d] = c
}

// forget drops one whose key verifies no longer.
func (v *verified) forget(d digest) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.newer, d)
	delete(v.older, d)
}

func (v *verified) len() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.newer) + len(v.older)
}
