package gateway

import (
	"encoding/json"
	"net/http"

	"kong-vault-auth/kongtest"
)

// database is Kong's, as of one configuration.
type database struct {
	kongtest.ConsumerList
	gw *Gateway
}

func (d database) Consumer(id string) *kongtest.Consumer {
	if d.gw.databaseDown.Load() {
		return nil
	}
	return d.ConsumerList.Consumer(id)
}

func (d database) ConsumerByUsername(username string) *kongtest.Consumer {
	if d.gw.databaseDown.Load() {
		return nil
	}
	return d.ConsumerList.ConsumerByUsername(username)
}

// SetDatabaseDown makes Kong's database of consumers fail, or work again: a
// plugin's load_consumer then finds no consumer, without an error.
func (g *Gateway) SetDatabaseDown(down bool) { g.databaseDown.Store(down) }

// StatusAPI is Kong's Status API as far as GET /status, for a server that a test
// starts. SetDatabaseDown decides whether the database is reachable.
func (g *Gateway) StatusAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Server", serverName)
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		// It fails only if the client has gone.
		_ = json.NewEncoder(w).Encode(map[string]any{
			"database": map[string]bool{"reachable": !g.databaseDown.Load()},
			"memory":   map[string]any{},
			"server":   map[string]any{},
		})
	})
	return mux
}
