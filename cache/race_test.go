//go:build race

package cache

// scale divides the numbers of clients and guesses in the largest tests, since the race
// detector makes each of them many times slower.
const scale = 4
