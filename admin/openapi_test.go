package admin

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/google/go-cmp/cmp"
)

// The test gets every status code of every operation in the OpenAPI document from the
// running API, and compares each answer with the document.
func TestEveryDocumentedAnswerIsGiven(t *testing.T) {
	e := newEnv(t)
	document, err := openapi3.NewLoader().LoadFromData([]byte(e.must(200, "GET", "/openapi.json", "")))
	if err != nil {
		t.Fatal(err)
	}
	if err := document.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	router, err := legacy.NewRouter(document)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	ask := func(status int, contentType, method, path, body string) {
		t.Helper()
		w := e.sendAs(contentType, method, path, body)
		if w.Code != status {
			t.Errorf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, status)
			return
		}
		r := httptest.NewRequest(method, path, nil)
		route, parameters, err := router.FindRoute(r)
		if err != nil {
			t.Errorf("%s %s: %v", method, path, err)
			return
		}
		input := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, Route: route, PathParams: parameters},
			Status:                 w.Code, Header: w.Header(), Options: &openapi3filter.Options{IncludeResponseStatus: true},
		}
		if err := openapi3filter.ValidateResponse(t.Context(), input.SetBodyBytes(w.Body.Bytes())); err != nil {
			t.Errorf("%s %s: %v", method, path, err)
		}
		seen[fmt.Sprint(route.Operation.OperationID, " ", w.Code)] = true
	}
	const json = "application/json"
	failing := func(statuses []int, method, path, body string) {
		t.Helper()
		for _, status := range statuses {
			e.store.err = storeErrors[status]
			ask(status, json, method, path, body)
		}
		e.store.err = nil
	}
	unreadable := func(method, path, body string) {
		t.Helper()
		was := e.server.file
		e.server.file = nil
		ask(503, json, method, path, body)
		e.server.file = was
	}

	ask(200, "", "GET", "/openapi.json", "")
	ask(200, "", "GET", "/vault-auth", "")
	ask(201, json, "POST", "/vault-auth", kongAuth)
	ask(409, json, "POST", "/vault-auth", kongAuth)
	ask(400, json, "POST", "/vault-auth", `{"name":"Kong Auth"}`)
	ask(413, json, "POST", "/vault-auth", `{"name":"`+strings.Repeat("a", maxBody)+`"}`)
	ask(415, "text/plain", "POST", "/vault-auth", kongAuth)
	ask(200, "", "GET", "/vault-auth", "")
	ask(200, "", "GET", "/vault-auth/kong-auth", "")
	ask(404, "", "GET", "/vault-auth/nothing", "")
	ask(200, json, "PATCH", "/vault-auth/kong-auth", `{"ttl":30}`)
	ask(400, json, "PATCH", "/vault-auth/kong-auth", `{"port":0}`)
	ask(404, json, "PATCH", "/vault-auth/nothing", `{"ttl":30}`)
	ask(200, json, "PUT", "/vault-auth/kong-auth", kongAuth)
	ask(201, json, "PUT", "/vault-auth/another", strings.ReplaceAll(kongAuth, `"name":"kong-auth",`, ""))
	ask(400, json, "PUT", "/vault-auth/another", `{"kv":"v3"}`)
	ask(409, json, "PUT", "/vault-auth/"+consumerID, kongAuth)
	for method, path := range map[string]string{"GET": "/vault-auth", "POST": "/vault-auth"} {
		unreadable(method, path, "{}")
	}
	for _, method := range []string{"GET", "PATCH", "PUT", "DELETE"} {
		unreadable(method, "/vault-auth/kong-auth", "{}")
	}

	const credentials = "/vault-auth/kong-auth/credentials"
	for _, post := range []struct{ path, body, nobody, broken string }{
		{credentials, `{"access_token":"one","consumer":{"id":"` + consumerID + `"}}`, `{"consumer":"nobody"}`, `{"consumer":"broken"}`},
		{credentials + "/alex", `{"access_token":"two"}`, "", ""},
	} {
		ask(201, json, "POST", post.path, post.body)
		ask(409, json, "POST", post.path, post.body)
		ask(400, json, "POST", post.path, `{"access_token":"not one"}`)
		failing([]int{403, 502, 503}, "POST", post.path, strings.ReplaceAll(post.body, `"access_token"`, `"description"`))
		if post.nobody != "" {
			ask(404, json, "POST", post.path, post.nobody)
			ask(502, json, "POST", post.path, post.broken)
		}
	}
	ask(404, "", "POST", credentials+"/nobody", "")
	ask(200, "", "GET", credentials+"?size=1", "")
	ask(400, "", "GET", credentials+"?size=0", "")
	ask(404, "", "GET", "/vault-auth/nothing/credentials", "")
	failing([]int{403, 502, 503}, "GET", credentials, "")
	ask(409, "", "DELETE", "/vault-auth/kong-auth", "")
	ask(400, "", "DELETE", "/vault-auth/kong-auth?force=perhaps", "")
	failing([]int{403, 502, 503}, "DELETE", "/vault-auth/kong-auth", "")

	one := pathOf("one")
	ask(200, "", "GET", one, "")
	ask(404, "", "GET", pathOf("none"), "")
	failing([]int{403, 502, 503}, "GET", one, "")
	ask(200, json, "PATCH", one, `{"ttl":"5m","groups":["gold"],"expires_at":"2100-01-01T00:00:00Z","enabled":false}`)
	ask(400, json, "PATCH", one, `{"ttl":"soon"}`)
	ask(404, json, "PATCH", pathOf("none"), `{"ttl":1}`)
	failing([]int{403, 409, 502, 503}, "PATCH", one, `{"ttl":1}`)
	ask(200, json, "POST", one+"/rotate", `{"grace":"1h"}`)
	ask(400, json, "POST", one+"/rotate", `{"grace":"8d"}`)
	ask(404, "", "POST", pathOf("none")+"/rotate", "")
	failing([]int{403, 409, 502, 503}, "POST", one+"/rotate", "")
	failing([]int{403, 502, 503}, "DELETE", one, "")
	ask(400, "", "DELETE", one+"?purge=perhaps", "")
	e.must(201, "POST", credentials+"/alex", `{"access_token":"three"}`)
	ask(204, "", "DELETE", pathOf("three"), "")
	ask(404, "", "DELETE", pathOf("three"), "")
	ask(204, "", "DELETE", "/vault-auth/kong-auth?force=true", "")
	ask(404, "", "DELETE", "/vault-auth/kong-auth", "")

	want := map[string]bool{}
	for path, item := range document.Paths.Map() {
		for method, o := range item.Operations() {
			if method == http.MethodGet && path == "" {
				t.Error("a path is empty")
			}
			for code := range o.Responses.Map() {
				want[o.OperationID+" "+code] = true
			}
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(seen))); diff != "" {
		t.Errorf("documented (-) and had (+):\n%s", diff)
	}
}

// The document has all paths and methods of the API, and the tutorial's paths answer like
// the others.
func TestEveryRouteIsDocumented(t *testing.T) {
	e := newEnv(t)
	document, err := openapi3.NewLoader().LoadFromData([]byte(e.must(200, "GET", "/openapi.json", "")))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for path, item := range document.Paths.Map() {
		if path != "/openapi.json" {
			got[strings.ReplaceAll(strings.TrimPrefix(path, "/vault-auth"), "{access_token}", "{token}")] = slices.Sorted(maps.Keys(item.Operations()))
		}
	}
	want := map[string][]string{}
	for path, methods := range e.server.routes() {
		want[path] = slices.Sorted(maps.Keys(methods))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	e.must(201, "POST", "/vaults", kongAuth)
	e.must(200, "GET", "/vaults/kong-auth/credentials", "")
}
