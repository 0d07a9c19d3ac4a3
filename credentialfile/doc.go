// Package credentialfile reads and writes files of credentials: lines of JSON, CSV, and
// Kong Enterprise's answers to GET /vault-auth/{vault}/credentials. It reads a credential
// at a time, however large the file is. From a decK dump it reads consumers.
//
// Errors say where in the file something is wrong, and hold none of its values.
package credentialfile
