package vault

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
	"path"
	"strconv"
	"strings"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/snapshot"
)

// Definition is a vault object as it was configured: exactly one of HCV and
// Azure.
type Definition struct {
	Name  string // for messages
	HCV   *HCV
	Azure *Azure

	// Node says that whoever runs the node has defined the object, in a file or
	// the environment. What a plugin's configuration defines may name no files,
	// and gets nothing that is the node's.
	Node bool
	// Inline says that it stands in a plugin's configuration, so that what the node
	// says of where those may connect concerns it, also if they are trusted.
	Inline bool
	// Allowed says which configurations may name an object of the node's.
	Allowed Allowed
	// Refs are the references that fields of an inline object were configured
	// with, by field, as the record's $refs has them. Kong hands over what it
	// resolved them to, and an empty string where it couldn't.
	Refs map[string]string
}

// limits are the settings that are no part of the store.
func (d *Definition) limits() *secretstore.Limits {
	if d.Azure != nil {
		return &d.Azure.Limits
	}
	return &d.HCV.Limits
}

// snapshot is where the cache of the store is kept for the next process.
func (d *Definition) snapshot() snapshot.File {
	l := d.limits()
	return snapshot.File{Path: l.SnapshotFile, KeyFile: l.SnapshotKeyFile, Store: d.identity()}
}

// place says where a store is, for the messages about an object without a name
// of its own.
func (d *Definition) place() string {
	if d.Azure != nil {
		return "azure at " + withoutUser(azureAddress(d.Azure))
	}
	return "hcv at " + withoutUser(hcvAddress(d.HCV)) + "/" + path.Join(strings.Trim(d.HCV.Mount, "/"), d.HCV.Path)
}

// withoutUser leaves out of an address a name and password, which don't belong
// there and are about to be refused.
func withoutUser(address string) string {
	return address[strings.LastIndex(address, "@")+1:]
}

// identity tells stores apart: address, namespace, mount, path, kv, and who
// logs in. It is the same on every node and holds no secret. Credential ids are
// made of it, so how it is written must never change.
func (d *Definition) identity() string {
	var parts []string
	if c := d.Azure; c != nil {
		parts = []string{
			"azure", azureAddress(c), strings.ToLower(c.NamePrefix),
			c.AuthMethod, strings.ToLower(c.TenantID), strings.ToLower(c.ClientID),
		}
	} else {
		c := d.HCV
		parts = append([]string{
			"hcv", hcvAddress(c), strings.Trim(c.Namespace, "/ "), strings.Trim(c.Mount, "/"), strings.Trim(c.Path, "/"), c.KV,
			c.AuthMethod,
		}, hcvRole(c)...)
		if in := strings.Trim(c.AuthNamespace, "/ "); c.AuthNamespace != "" && in != strings.Trim(c.Namespace, "/ ") {
			parts = append(parts, "in", in)
		}
	}
	b, _ := json.Marshal(parts) // strings can always be marshalled
	return string(b)
}

func hcvAddress(c *HCV) string {
	if c.UnixSocket != "" {
		return "unix://" + c.UnixSocket
	}
	address := c.Protocol + "://" + net.JoinHostPort(strings.ToLower(strings.Trim(c.Host, "[]")), strconv.Itoa(c.Port))
	if base := strings.Trim(c.BasePath, "/"); base != "" {
		address += "/" + base
	}
	return address
}

// hcvRole is who logs in. A token says nothing of that which outlives it.
func hcvRole(c *HCV) []string {
	switch c.AuthMethod {
	case "approle":
		digest := sha256.Sum256([]byte(c.AppRoleRoleID)) // role ids are kept half secret
		return []string{c.AppRoleAuthPath, hex.EncodeToString(digest[:])}
	case "kubernetes":
		return []string{c.KubeAuthPath, c.KubeRole}
	case "cert":
		return []string{c.CertAuthPath, c.CertAuthRoleName}
	case "jwt":
		return []string{c.JWTAuthPath, c.JWTRole}
	}
	return nil
}

func azureAddress(c *Azure) string {
	return strings.ToLower(strings.TrimRight(c.VaultURI, "/"))
}

// digest tells stores of one identity apart that must not be mixed up: those
// that log in with another secret, or speak to the server in another way. It is
// of use only under key.
func (d *Definition) digest(key []byte) (sum [sha256.Size]byte) {
	var settings struct {
		HCV   HCV
		Azure Azure
	}
	if d.HCV != nil {
		settings.HCV = *d.HCV
		settings.HCV.Limits = secretstore.Limits{Base64Decode: d.HCV.Base64Decode}
	}
	if d.Azure != nil {
		settings.Azure = *d.Azure
		settings.Azure.Limits = secretstore.Limits{Base64Decode: d.Azure.Base64Decode}
	}
	mac := hmac.New(sha256.New, key)
	_ = json.NewEncoder(mac).Encode(settings) // structs of strings, numbers and booleans can always be marshalled
	mac.Sum(sum[:0])
	return sum
}
