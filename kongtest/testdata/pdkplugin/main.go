// Command pdkplugin is an ordinary auth plugin on go-pdk's own server, with which the tests
// check this package.
package main

import (
	"net/http"

	pdk "github.com/Kong/go-pdk"
	"github.com/Kong/go-pdk/client"
	"github.com/Kong/go-pdk/server"
)

// Config is the plugin's configuration.
type Config struct {
	Header  string            `json:"header"`
	Secret  string            `json:"secret"`
	Extra   map[string]string `json:"extra"`
	Numbers []int             `json:"numbers"`
}

// Access lets a request pass whose header holds a consumer's username.
func (c *Config) Access(kong *pdk.PDK) {
	headers, err := kong.Request.GetHeaders(1000)
	if err != nil {
		kong.Response.Exit(http.StatusInternalServerError, []byte(err.Error()), nil)
		return
	}
	name := headers[c.Header]
	if len(name) == 0 {
		kong.Log.Warn("no ", c.Header)
		kong.Response.Exit(http.StatusUnauthorized, []byte("who?"), map[string][]string{"WWW-Authenticate": {"Test"}})
		return
	}
	consumer, err := kong.Client.LoadConsumer(name[0], true)
	if err != nil || consumer.Id == "" {
		kong.Response.Exit(http.StatusForbidden, nil, nil)
		return
	}
	kong.Client.Authenticate(&consumer, &client.AuthenticatedCredential{Id: "cred", ConsumerId: consumer.Id})
	kong.ServiceRequest.SetHeaders(map[string][]string{
		"X-Consumer-Username": {consumer.Username},
		"X-Secret":            {c.Secret},
		c.Header:              {},
	})
}

func main() {
	server.StartServer(func() any { return &Config{} }, "1", 1000)
}
