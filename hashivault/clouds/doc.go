// Package clouds plays services of AWS and Google Cloud for tests of logins to HashiCorp
// Vault: they issue what a login shows to Vault, and check what they are asked with as the
// real ones do. Azure's are in azurevault/akvsim.
package clouds
