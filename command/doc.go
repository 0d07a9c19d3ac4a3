// Package command is the operator's command: what the program is when its first
// argument names a subcommand, rather than Kong's plugin server.
//
// Each subcommand has a file of its own, however short, named after it
// (credential_create.go), with one function that makes it. To add one, write such a file,
// name the function in the file of its parent (root.go, credential.go, vault.go), and
// write a script that types it in testdata/script. A command is not a place for logic:
// what it does with a store is in package manage.
//
// The other files are what commands share: program.go runs them, exit.go has their
// errors and exit statuses, result.go their output, consumer.go looks up consumers, and
// handover.go hands over new secret tokens.
//
// A command gets everything that it needs from its environment through Program, so that
// tests can run it in their own process.
package command
