package kongtest

import (
	"regexp"
	"strings"
)

var pdkClient = map[string]pdkFunc{
	"kong.client.get_ip": func(x *exchange, _ []any) (any, error) {
		return x.req.Client.Addr().String(), nil
	},
	"kong.client.get_forwarded_ip": func(x *exchange, _ []any) (any, error) {
		return x.req.Forwarded.Addr().String(), nil
	},
	"kong.client.get_port": func(x *exchange, _ []any) (any, error) {
		return float64(x.req.Client.Port()), nil
	},
	"kong.client.get_forwarded_port": func(x *exchange, _ []any) (any, error) {
		return float64(x.req.Forwarded.Port()), nil
	},
	"kong.client.get_credential": func(x *exchange, _ []any) (any, error) {
		return tableOrNil(x.credential), nil
	},
	"kong.client.get_consumer": func(x *exchange, _ []any) (any, error) {
		return tableOrNil(x.consumer), nil
	},
	"kong.client.load_consumer": loadConsumer,
	"kong.client.authenticate":  authenticate,
	"kong.client.get_protocol":  getProtocol,
}

var uuidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

func loadConsumer(x *exchange, args []any) (any, error) {
	id, byUsername := text(args[0]), args[1] == true
	isUUID := uuidPattern.MatchString(id)
	if !isUUID && !byUsername {
		return nil, raise("cannot load a consumer with an id that is not a uuid")
	}
	if isUUID {
		if c := x.req.Consumers.Consumer(id); c != nil {
			return c.table(), nil
		}
	}
	if byUsername {
		if c := x.req.Consumers.ConsumerByUsername(id); c != nil {
			return c.table(), nil
		}
	}
	return nil, nil
}

func authenticate(x *exchange, args []any) (any, error) {
	consumer, _ := args[0].(map[string]any)
	credential, _ := args[1].(map[string]any)
	if consumer == nil && credential == nil {
		return nil, raise("either credential or consumer must be provided")
	}
	x.consumer, x.credential = consumer, credential
	return nil, nil
}

func getProtocol(x *exchange, args []any) (any, error) {
	if x.req.Route == nil {
		return nil, nil
	}
	if p := x.req.Route.Protocols; len(p) == 1 {
		return p[0], nil
	}
	if x.req.Scheme == "https" {
		return "https", nil
	}
	if args[0] == true && x.req.Trusted {
		switch proto := values(x.req.Header, "x-forwarded-proto"); {
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
