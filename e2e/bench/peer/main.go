// Command peer is the plugin that benchmarks compare with: it does what vault-auth does for a
// cached pair, on go-pdk's own server. Its executable's name says how: "three" makes the three
// calls that vault-auth makes, "ten" the ten single calls that such plugins usually make.
package main

import (
	"log"
	"os"
	"path/filepath"

	"github.com/Kong/go-pdk"
	"github.com/Kong/go-pdk/client"
	"github.com/Kong/go-pdk/entities"
	"github.com/Kong/go-pdk/server"
)

type config struct {
	Consumer string `json:"consumer"`
}

var alice = entities.Consumer{Id: "2f9d4c8e-8f7d-4f3b-9d55-0c6d2f1b7a01", Username: "alice", CustomId: "a-1"}

const (
	credentialID = "7d0e8f5e-53c5-5a3c-8b1e-4f0d6f7b9c03"
	accessToken  = "alice-1"
	secretToken  = "s3cret"
)

// Access is the access phase.
func (config) Access(k *pdk.PDK) {
	var err error
	if filepath.Base(os.Args[0]) == "ten" {
		err = ten(k)
	} else {
		err = three(k)
	}
	if err != nil {
		log.Print(err)
		k.Response.Exit(500, nil, nil)
	}
}

func three(k *pdk.PDK) error {
	headers, err := k.Request.GetHeaders(1000)
	if err != nil {
		return err
	}
	if a, s := headers["access_token"], headers["secret_token"]; len(a) != 1 || a[0] != accessToken || len(s) != 1 || s[0] != secretToken {
		k.Response.Exit(401, nil, nil)
		return nil
	}
	if err := k.Client.Authenticate(&alice, &client.AuthenticatedCredential{Id: credentialID, ConsumerId: alice.Id}); err != nil {
		return err
	}
	return k.ServiceRequest.SetHeaders(map[string][]string{
		"X-Consumer-ID": {alice.Id}, "X-Consumer-Username": {alice.Username}, "X-Consumer-Custom-ID": {alice.CustomId},
		"X-Credential-Identifier": {credentialID}, "X-Anonymous-Consumer": {}, "access_token": {}, "secret_token": {},
	})
}

func ten(k *pdk.PDK) error {
	access, err := k.Request.GetHeader("access_token")
	if err != nil {
		return err
	}
	secret, err := k.Request.GetHeader("secret_token")
	if err != nil {
		return err
	}
	if access != accessToken || secret != secretToken {
		k.Response.Exit(401, nil, nil)
		return nil
	}
	if err := k.Client.Authenticate(&alice, &client.AuthenticatedCredential{Id: credentialID, ConsumerId: alice.Id}); err != nil {
		return err
	}
	for name, value := range map[string]string{
		"X-Consumer-ID": alice.Id, "X-Consumer-Username": alice.Username, "X-Consumer-Custom-ID": alice.CustomId, "X-Credential-Identifier": credentialID,
	} {
		if err := k.ServiceRequest.SetHeader(name, value); err != nil {
			return err
		}
	}
	for _, name := range []string{"X-Anonymous-Consumer", "access_token", "secret_token"} {
		if err := k.ServiceRequest.ClearHeader(name); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if err := server.StartServer(func() any { return &config{} }, "1", 1350); err != nil {
		log.Fatal(err)
	}
}
