//go:build !unix

package process

// fileLimit is how many files this process may have open: there is no limit to ask
// for on such a system.
func fileLimit() int { return manyFiles }
