package akvsim

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

const (
	pageSize     = 25       // of lists
	maxValueSize = 25 << 10 // of a secret's value, in bytes
)

// secret is a secret with its versions. Its functions, and those of Sim below that
// aren't exported, need the simulator's lock.
type secret struct {
	name     string     // as it was first written: Key Vault's names ignore case
	versions []*version // oldest first
	deleted  *time.Time // soft-deleted since

	// The last change, until it can be seen: see Options.Slow.
	doing string // Deleted, Recovered or Purged; empty: nothing
	left  int    // requests until then
}

// begin delays the effect of what was just done to a secret.
func (s *Sim) begin(sec *secret, doing string) {
	if s.options.Slow > 0 {
		sec.doing, sec.left = doing, s.options.Slow
	} else if doing == "Purged" {
		delete(s.secrets, strings.ToLower(sec.name))
	}
}

// unsettled answers a request for a secret whose last change can't be seen yet, and
// reports whether it did.
func (s *Sim) unsettled(w http.ResponseWriter, r *http.Request, base, name string) bool {
	sec := s.secrets[strings.ToLower(name)]
	if sec == nil || sec.doing == "" {
		return false
	}
	if sec.left--; sec.left < 0 {
		if sec.doing == "Purged" {
			delete(s.secrets, strings.ToLower(name))
		}
		sec.doing = ""
		return false
	}
	ofDeleted := strings.HasPrefix(r.URL.Path, "/deletedsecrets/")
	switch {
	case r.Method == http.MethodPut:
		refuse(w, http.StatusConflict, "Conflict", "ObjectIsBeing"+sec.doing, "Secret "+name+" is currently being "+strings.ToLower(sec.doing)+". Please retry later.")
	case ofDeleted && sec.doing == "Purged" && r.Method == http.MethodGet:
		writeJSON(w, http.StatusOK, deletedModel(base, sec))
	default:
		notFound(w, name)
	}
	return true
}

type version struct {
	id          string
	value       string
	contentType *string
	tags        map[string]*string
	attributes  azsecrets.SecretAttributes
}

func (s *secret) latest() *version { return s.versions[len(s.versions)-1] }

// Put writes a new version of a secret, as the portal or az would, and returns
// the version's id. Attributes that a doesn't set are those of a new secret:
// enabled, created now, always valid.
func (s *Sim) Put(name, value string, a *azsecrets.SecretAttributes) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(name, azsecrets.SetSecretParameters{Value: &value, SecretAttributes: a}).id
}

// Versions is the number of a secret's versions, or 0 if there is no such secret.
func (s *Sim) Versions(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	sec, found := s.secrets[strings.ToLower(name)]
	if !found {
		return 0
	}
	return len(sec.versions)
}

// Values are the current values of the secrets whose names begin with prefix, by name.
func (s *Sim) Values(prefix string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	values := map[string]string{}
	for _, sec := range s.secrets {
		if sec.deleted == nil && strings.HasPrefix(sec.name, prefix) {
			values[sec.name] = sec.latest().value
		}
	}
	return values
}

// Change sets the attributes of a version that a sets; an empty version is the
// latest. It panics if there is none.
func (s *Sim) Change(name, version string, a azsecrets.SecretAttributes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, v := s.find(name, version)
	v.attributes = merge(v.attributes, &a)
}

// Delete soft-deletes a secret. It panics if there is none.
func (s *Sim) Delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now().UTC()
	s.secrets[strings.ToLower(name)].deleted = &now
}

func (s *Sim) put(name string, p azsecrets.SetSecretParameters) *version {
	key := strings.ToLower(name)
	if s.secrets[key] == nil {
		s.secrets[key] = &secret{name: name}
	}
	id := make([]byte, 16)
	rand.Read(id)
	now := time.Now().UTC().Truncate(time.Second) // Key Vault's times are whole seconds
	enabled, days, level := true, int32(90), "Recoverable+Purgeable"
	v := &version{
		id: hex.EncodeToString(id), value: *p.Value, contentType: p.ContentType, tags: p.Tags,
		attributes: merge(azsecrets.SecretAttributes{
			Enabled: &enabled, Created: &now, Updated: &now, RecoverableDays: &days, RecoveryLevel: &level,
		}, p.SecretAttributes),
	}
	s.secrets[key].versions = append(s.secrets[key].versions, v)
	return v
}

func merge(a azsecrets.SecretAttributes, changes *azsecrets.SecretAttributes) azsecrets.SecretAttributes {
	if changes == nil {
		return a
	}
	a.Enabled = cmp.Or(changes.Enabled, a.Enabled)
	a.Expires = cmp.Or(changes.Expires, a.Expires)
	a.NotBefore = cmp.Or(changes.NotBefore, a.NotBefore)
	a.Created = cmp.Or(changes.Created, a.Created)
	a.Updated = cmp.Or(changes.Updated, a.Updated)
	return a
}

// find returns a secret that isn't deleted and one of its versions, the latest if id
// is empty. It returns nil for what doesn't exist.
func (s *Sim) find(name, id string) (*secret, *version) {
	sec := s.secrets[strings.ToLower(name)]
	if sec == nil || sec.deleted != nil {
		return nil, nil
	}
	if id == "" {
		return sec, sec.latest()
	}
	for _, v := range sec.versions {
		if v.id == strings.ToLower(id) {
			return sec, v
		}
	}
	return sec, nil
}

// get also returns secrets outside their nbf and exp: Key Vault leaves it to the reader
// to check them.
func (s *Sim) get(w http.ResponseWriter, base, name, id string) {
	sec, v := s.find(name, id)
	switch {
	case v == nil:
		notFound(w, name)
	case !*v.attributes.Enabled:
		refuse(w, http.StatusForbidden, "Forbidden", "SecretDisabled", "Operation get is not allowed on a disabled secret.")
	default:
		writeJSON(w, http.StatusOK, model(base, sec, v))
	}
}

func (s *Sim) set(w http.ResponseWriter, r *http.Request, base, name string) {
	var p azsecrets.SetSecretParameters
	switch err := json.NewDecoder(r.Body).Decode(&p); {
	case err != nil || p.Value == nil:
		refuse(w, http.StatusBadRequest, "BadParameter", "", "The request body or value is missing or not valid.")
	case len(*p.Value) > maxValueSize:
		refuse(w, http.StatusBadRequest, "BadParameter", "", "The secret value exceeds 25k bytes.")
	case s.deleted(name) != nil:
		refuse(w, http.StatusConflict, "Conflict", "ObjectIsDeletedButRecoverable", "Secret "+name+" is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the secret can only be recovered or purged.")
	default:
		v := s.put(name, p)
		writeJSON(w, http.StatusOK, model(base, s.secrets[strings.ToLower(name)], v))
	}
}

func (s *Sim) update(w http.ResponseWriter, r *http.Request, base, name, id string) {
	var p azsecrets.UpdateSecretPropertiesParameters
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
		refuse(w, http.StatusBadRequest, "BadParameter", "", "The request body is not valid.")
		return
	}
	sec, v := s.find(name, id)
	if v == nil {
		notFound(w, name)
		return
	}
	now := time.Now().UTC().Truncate(time.Second)
	v.attributes = merge(v.attributes, p.SecretAttributes)
	v.attributes.Updated = &now
	v.contentType = cmp.Or(p.ContentType, v.contentType)
	if p.Tags != nil {
		v.tags = p.Tags
	}
	writeJSON(w, http.StatusOK, withoutValue(model(base, sec, v)))
}

func (s *Sim) delete(w http.ResponseWriter, base, name string) {
	sec, _ := s.find(name, "")
	if sec == nil {
		notFound(w, name)
		return
	}
	now := time.Now().UTC()
	sec.deleted = &now
	s.begin(sec, "Deleted")
	writeJSON(w, http.StatusOK, deletedModel(base, sec))
}

func (s *Sim) deleted(name string) *secret {
	if sec := s.secrets[strings.ToLower(name)]; sec != nil && sec.deleted != nil {
		return sec
	}
	return nil
}

// serveDeleted shows, recovers or purges a soft-deleted secret.
func (s *Sim) serveDeleted(w http.ResponseWriter, r *http.Request, base, name string) {
	sec := s.deleted(name)
	switch {
	case sec == nil:
		refuse(w, http.StatusNotFound, "SecretNotFound", "", "Deleted Secret not found: "+name)
	case r.Method == http.MethodGet:
		writeJSON(w, http.StatusOK, deletedModel(base, sec))
	case r.Method == http.MethodDelete:
		s.begin(sec, "Purged")
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/recover"):
		sec.deleted = nil
		s.begin(sec, "Recovered")
		writeJSON(w, http.StatusOK, withoutValue(model(base, sec, sec.latest())))
	default:
		refuse(w, http.StatusNotFound, "NotFound", "", "Not found")
	}
}

func (s *Sim) listSecrets(w http.ResponseWriter, r *http.Request, base string) {
	items := []*azsecrets.SecretProperties{} // an empty list is written too
	for _, sec := range s.secrets {
		if sec.deleted == nil {
			items = append(items, properties(base+"/secrets/"+sec.name, sec.latest()))
		}
	}
	writePage(w, r, base, items)
}

func (s *Sim) listVersions(w http.ResponseWriter, r *http.Request, base, name string) {
	sec, _ := s.find(name, "")
	if sec == nil {
		notFound(w, name)
		return
	}
	var items []*azsecrets.SecretProperties
	for _, v := range sec.versions {
		items = append(items, properties(base+"/secrets/"+sec.name+"/"+v.id, v))
	}
	writePage(w, r, base, items)
}

// writePage writes the page of a list that the request is for. Lists are in the order
// of their ids, so versions aren't in the order of their creation.
func writePage(w http.ResponseWriter, r *http.Request, base string, items []*azsecrets.SecretProperties) {
	slices.SortFunc(items, func(a, b *azsecrets.SecretProperties) int { return strings.Compare(string(*a.ID), string(*b.ID)) })
	q := r.URL.Query()
	skip, _ := strconv.Atoi(q.Get("$skiptoken"))
	skip = min(max(skip, 0), len(items))
	end := min(skip+pageSize, len(items))
	out := azsecrets.SecretPropertiesListResult{Value: items[skip:end]}
	if end < len(items) {
		next := base + ":443" + r.URL.Path + "?" + url.Values{"api-version": {q.Get("api-version")}, "$skiptoken": {strconv.Itoa(end)}}.Encode()
		out.NextLink = &next
	}
	writeJSON(w, http.StatusOK, out)
}

func notFound(w http.ResponseWriter, name string) {
	refuse(w, http.StatusNotFound, "SecretNotFound", "", "A secret with (name/id) "+name+" was not found in this key vault. If you recently deleted this secret you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182")
}

func properties(id string, v *version) *azsecrets.SecretProperties {
	typed, attributes := azsecrets.ID(id), v.attributes
	return &azsecrets.SecretProperties{ID: &typed, Attributes: &attributes, ContentType: v.contentType, Tags: v.tags}
}

func model(base string, sec *secret, v *version) azsecrets.Secret {
	p, value := properties(base+"/secrets/"+sec.name+"/"+v.id, v), v.value
	return azsecrets.Secret{ID: p.ID, Value: &value, ContentType: p.ContentType, Tags: p.Tags, Attributes: p.Attributes}
}

func withoutValue(m azsecrets.Secret) azsecrets.Secret {
	m.Value = nil
	return m
}

func deletedModel(base string, sec *secret) azsecrets.DeletedSecret {
	m, recovery, purge := model(base, sec, sec.latest()), base+"/deletedsecrets/"+sec.name, sec.deleted.AddDate(0, 0, 90)
	return azsecrets.DeletedSecret{
		ID: m.ID, Attributes: m.Attributes, ContentType: m.ContentType, Tags: m.Tags,
		RecoveryID: &recovery, DeletedDate: sec.deleted, ScheduledPurgeDate: &purge,
	}
}
