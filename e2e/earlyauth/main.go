// Command earlyauth is an auth plugin that runs before vault-auth, for tests of what vault-auth
// does then. It takes the username of a consumer from the header "early", and lets requests
// without it pass unchanged. With a header "early-silent" it sets no header, and gives the
// credential no id; "early-group" names a group that it puts the consumer in.
package main

import (
	"log"

	"github.com/Kong/go-pdk"
	"github.com/Kong/go-pdk/client"
	"github.com/Kong/go-pdk/server"
)

// priority is above vault-auth's 1350.
const priority = 2000

type config struct{}

func main() {
	if err := server.StartServer(func() any { return &config{} }, "0.1", priority); err != nil {
		log.Fatal(err)
	}
}

// Access authenticates one request.
func (*config) Access(kong *pdk.PDK) {
	username, err := kong.Request.GetHeader("early")
	if err != nil || username == "" {
		return
	}
	consumer, err := kong.Client.LoadConsumer(username, true)
	if err != nil || consumer.Id == "" {
		kong.Response.Exit(401, []byte("Unauthorized"), nil)
		return
	}
	if silent, err := kong.Request.GetHeader("early-silent"); err == nil && silent != "" {
		kong.Client.Authenticate(&consumer, &client.AuthenticatedCredential{})
		return
	}
	if group, err := kong.Request.GetHeader("early-group"); err == nil && group != "" {
		kong.Ctx.SetShared("authenticated_groups", []any{group})
	}
	kong.Client.Authenticate(&consumer, &client.AuthenticatedCredential{Id: "early-" + username})
	kong.ServiceRequest.SetHeaders(map[string][]string{
		"X-Consumer-ID":           {consumer.Id},
		"X-Consumer-Username":     {consumer.Username},
		"X-Credential-Identifier": {"early-" + username},
	})
}
