// Package command is the operator's command: what the program is when its first
// argument names a subcommand, rather than Kong's plugin server.
//
// Each subcommand has a file of its own, named after it (credential_create.go), with
// one function that makes it. To add one, write such a file, name the function in the
// file of its parent (root.go, credential.go, vault.go), and write a script that types
// it in testdata/script. A command is not a place for logic: what it does with a store
// is in package manage.
//
// Everything a command has of its surroundings is in Program, so that tests can run it
// in their own process.
package command
