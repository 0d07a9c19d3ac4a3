package kongtest

import (
	"strings"

	"github.com/google/uuid"

	"kong-vault-auth/kongtest/internal/lua"
)

var pdkClient = map[string]pdkFunc{
	"kong.client.get_ip": func(x *Exchange, _ []any) (any, error) {
		return x.Request.Client.Addr().String(), nil
	},
	"kong.client.get_forwarded_ip": func(x *Exchange, _ []any) (any, error) {
		return x.Request.Forwarded.Addr().String(), nil
	},
	"kong.client.get_port": func(x *Exchange, _ []any) (any, error) {
		return float64(x.Request.Client.Port()), nil
	},
	"kong.client.get_forwarded_port": func(x *Exchange, _ []any) (any, error) {
		return float64(x.Request.Forwarded.Port()), nil
	},
	"kong.client.get_credential": func(x *Exchange, _ []any) (any, error) {
		return tableOrNil(x.credential), nil
	},
	"kong.client.get_consumer": func(x *Exchange, _ []any) (any, error) {
		return tableOrNil(x.consumer), nil
	},
	"kong.client.load_consumer": loadConsumer,
	"kong.client.authenticate":  authenticate,
	"kong.client.get_protocol":  getProtocol,
}

func loadConsumer(x *Exchange, args []any) (any, error) {
	id, byUsername := lua.Text(args[0]), args[1] == true
	isUUID := len(id) == 36 && uuid.Validate(id) == nil
	if !isUUID && !byUsername {
		return nil, raise("cannot load a consumer with an id that is not a uuid")
	}
	if isUUID {
		if c := x.Request.Consumers.Consumer(id); c != nil {
			return c.table(), nil
		}
	}
	if byUsername {
		if c := x.Request.Consumers.ConsumerByUsername(id); c != nil {
			return c.table(), nil
		}
	}
	return nil, nil
}

func authenticate(x *Exchange, args []any) (any, error) {
	consumer, _ := args[0].(map[string]any)
	credential, _ := args[1].(map[string]any)
	if consumer == nil && credential == nil {
		return nil, raise("either credential or consumer must be provided")
	}
	x.consumer, x.credential = consumer, credential
	return nil, nil
}

func getProtocol(x *Exchange, args []any) (any, error) {
	if x.Request.Route == nil {
		return nil, nil
	}
	if p := x.Request.Route.Protocols; len(p) == 1 {
		return p[0], nil
	}
	if x.Request.Scheme == "https" {
		return "https", nil
	}
	if args[0] == true && x.Request.Trusted {
		switch proto := values(x.Request.Header, "x-forwarded-proto"); {
		case len(proto) > 1:
			return nil, nil // "Only one X-Forwarded-Proto header allowed" never crosses the wire
		case len(proto) == 1 && strings.EqualFold(proto[0], "https"):
			return "https", nil
		}
	}
	return "http", nil
}

func tableOrNil(t map[string]any) any {
	if t == nil {
		return nil
	}
	return t
}
