//go:build race

package e2e

// raceEnabled: the plugin is compiled as the tests are.
const raceEnabled = true
