// Package clouds has fake services of AWS and Google Cloud for tests of logins to
// HashiCorp Vault. They issue what a login presents to Vault, and check requests as the
// real services do. Azure's are in azurevault/akvsim.
package clouds
