package credential

import (
	"strings"

	"github.com/google/uuid"
)

// namespace is where the ids of this program's credentials live. It is part of
// every credential's id: changing it changes them all.
var namespace = uuid.MustParse("6f0e1c52-94c5-4b0e-9d61-5a3b7b5d2c11")

// ID is the id of the credential that a store keeps for an access token: a
// UUIDv5, so every node and every restart arrives at the same one and none of
// them reveals the token. Kong hands it to the upstream
// (X-Credential-Identifier), to log plugins and to rate limiting.
func ID(storeIdentity, accessToken string) string {
	store := uuid.NewSHA1(namespace, []byte(storeIdentity))
	return uuid.NewSHA1(store, []byte(accessToken)).String()
}

// Fingerprint is the first 12 hex digits of a credential's id: the only way in
// which a credential is named in logs, errors and audit lines. It is empty for
// what is not an id.
func Fingerprint(id string) string {
	const digits = 12
	hex := strings.ReplaceAll(id, "-", "")
	if len(hex) < digits {
		return ""
	}
	return hex[:digits]
}
