package kongtest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"kong-vault-auth/kongtest/internal/lua"
)

var pdkResponse = map[string]pdkFunc{
	"kong.response.set_status": func(x *Exchange, args []any) (any, error) {
		status, err := statusCode(args[0])
		x.ResponseStatus = status
		return nil, err
	},
	"kong.response.set_header": func(x *Exchange, args []any) (any, error) {
		return nil, x.setResponseHeader(lua.Text(args[0]), args[1])
	},
	"kong.response.add_header": func(x *Exchange, args []any) (any, error) {
		name := strings.ReplaceAll(lua.Text(args[0]), "_", "-")
		values, err := headerValues(name, args[1])
		for _, v := range values {
			x.ResponseHeader = append(x.ResponseHeader, Header{name, v})
		}
		return nil, err
	},
	"kong.response.clear_header": func(x *Exchange, args []any) (any, error) {
		x.ResponseHeader = setHeader(x.ResponseHeader, strings.ReplaceAll(lua.Text(args[0]), "_", "-"))
		return nil, nil
	},
	"kong.response.set_headers": func(x *Exchange, args []any) (any, error) {
		t, _ := args[0].(map[string]any)
		return nil, x.setResponseHeaders(t)
	},
	"kong.response.exit": func(x *Exchange, args []any) (any, error) {
		status, err := statusCode(args[0])
		if err != nil {
			return nil, err
		}
		t, _ := args[2].(map[string]any)
		if err := x.setResponseHeaders(t); err != nil {
			return nil, err
		}
		x.finish(status, lua.Text(args[1]))
		return nil, nil
	},
}

func statusCode(v any) (int, error) {
	n, _ := v.(float64)
	if n < 100 || n > 599 {
		return 0, raise("code must be a number between 100 and 599")
	}
	return int(n), nil
}

func (x *Exchange) setResponseHeaders(t map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if _, err := headerValues(name, t[name]); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if err := x.setResponseHeader(name, t[name]); err != nil {
			return err
		}
	}
	return nil
}

// setResponseHeader sets a header of the answer; nginx turns "_" into "-".
func (x *Exchange) setResponseHeader(name string, v any) error {
	values, err := headerValues(name, v)
	if err != nil {
		return err
	}
	name = strings.ReplaceAll(name, "_", "-")
	if strings.EqualFold(name, "transfer-encoding") {
		x.Log("warn", "manually setting Transfer-Encoding. Ignored.")
		return nil
	}
	x.ResponseHeader = setHeader(x.ResponseHeader, name, values...)
	return nil
}

// finish makes the answer of kong.response.exit. For a gRPC client it is a
// status in headers, where the body goes too if the plugin has set no
// Content-Type.
func (x *Exchange) finish(status int, body string) {
	contentType := values(x.ResponseHeader, "content-type")
	own := len(contentType) > 0
	grpc := x.isGRPC()
	if own {
		grpc = strings.HasPrefix(contentType[0], "application/grpc")
	}
	if grpc {
		code := grpcCode(status)
		x.ResponseHeader = setHeader(x.ResponseHeader, "grpc-status", strconv.Itoa(code))
		message := body
		if own {
			message = grpcMessages[code]
		} else {
			body = ""
		}
		if !own || len(values(x.ResponseHeader, "grpc-message")) == 0 {
			x.ResponseHeader = setHeader(x.ResponseHeader, "grpc-message", message)
		}
	}
	if grpc && !own || len(values(x.ResponseHeader, "content-length")) == 0 {
		x.ResponseHeader = setHeader(x.ResponseHeader, "Content-Length", strconv.Itoa(len(body)))
	}
	x.Exit = &Exit{Status: status, Header: x.ResponseHeader, Body: []byte(body)}
}

// grpcCode is the status of a gRPC answer for one of HTTP.
func grpcCode(status int) int {
	if code, ok := grpcCodes[status]; ok {
		return code
	}
	switch status / 100 {
	case 2:
		return 0
	case 4:
		return 3
	case 5:
		return 13
	}
	return 2
}

var grpcCodes = map[int]int{
	200: 0, 400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 429: 8, 499: 1, 500: 13, 501: 12, 503: 14, 504: 4,
}

var grpcMessages = map[int]string{
	0: "OK", 1: "Canceled", 2: "Unknown", 3: "InvalidArgument", 4: "DeadlineExceeded", 5: "NotFound",
	6: "AlreadyExists", 7: "PermissionDenied", 8: "ResourceExhausted", 12: "Unimplemented", 13: "Internal",
	14: "Unavailable", 16: "Unauthenticated",
}

// Fail is kong.response.error: Kong's own answer to a request.
func (x *Exchange) Fail(status int, message string) {
	x.Exit = nil
	if x.isGRPC() {
		x.ResponseHeader = setHeader(x.ResponseHeader, "Content-Type", "application/grpc")
		x.finish(status, "")
		return
	}
	x.ResponseHeader = setHeader(x.ResponseHeader, "Content-Type", "application/json; charset=utf-8")
	x.ResponseHeader = setHeader(x.ResponseHeader, "Content-Length")
	x.finish(status, fmt.Sprintf("{\n  \"message\":\"%s\",\n  \"request_id\":\"%s\"\n}", message, x.Request.Vars["kong_request_id"]))
}

func (x *Exchange) isGRPC() bool {
	return x.Request.HTTPVersion == 2 && strings.HasPrefix(lua.Text(x.header("content-type")), "application/grpc")
}
