// Package vault holds vault objects: named connections to a secret store, each with a
// cache in which token pairs are looked up. It knows no store by name: a [Registry] is
// given the kinds of store.
//
// # The parts
//
//	Registry ── every vault object of this process              registry.go
//	├─ nodeObjects ── objects that the node defines             node.go
//	│     definitions: vaults file, environment                 file.go, environment.go
//	├─ inline objects ── inside a plugin's configuration        inline.go
//	├─ credentialStore ── one open store and its cache          credentialstore.go
//	│   ├─ uses ── the objects that have it open                use.go
//	│   ├─ revocation ── lists the store's names periodically   revocation.go
//	│   └─ snapshots ── keep the cache in a file                snapshot.go
//	├─ loginReader ── logins that are secrets in other vaults   logins.go
//	└─ Secrets ── references to secrets, for Kong and plugins   secrets.go, ask.go
//	      secretStore ── one open store and its cached secrets  secretstores.go
//
//	Object ── one plugin configuration's view of an object      object.go
//	└─ binding ── the store and the limits it has right now
//
// A [Definition] is an object as it was configured. Objects whose definitions name the
// same store share one credentialStore, and so one login and one cache. Its key is the
// store's identity (where it is, and as whom this node logs in) with a digest of the
// other settings, the secrets of the login among them. An object that is edited or
// whose login rotates gets another key; [Registry.Open] says when its cache stays.
//
// # A lookup
//
// [Object.Lookup] loads the object's binding, checks the form of the pair and the
// blocklist, and asks the cache of the bound store. The cache answers from memory, or
// calls the store's read, which turns a record into a credential. No lock of the
// Registry is taken.
//
// # An edit of the vaults file
//
// nodeObjects watches the file. A new version is read and checked as a whole, and
// refused as a whole. Then every object in use is bound again: bind opens the store of
// the new definition, swaps the binding, and only then releases the old store, so a
// lookup uses one or the other. A store that nobody uses stays open for a while, since it
// may be opened again. [ObjectFile] is the other side: it edits such a file.
//
// # A revocation
//
// A credential that is deleted from the store is dropped from the cache when the next
// listing lacks it (revocation_interval), or at the end of its ttl. An operator, or
// another node, drops it at once with [Registry.DropCredential] and the like, which
// return only when no snapshot of this process has it any more. A blocked credential is
// refused before the cache is asked.
//
// # The rotation of a login
//
// The login of an object may be a reference to a secret in another vault. The
// loginReader reads it at the other vault's ttl, and at once when a store reports that
// its login is refused. If it has changed, the object is bound to a store with the new
// login, which takes over the cache of the old one.
//
// # Operators' commands
//
// They have no Registry: [Defined] reads the same definitions once, and opens stores
// with an operator's own login.
package vault
