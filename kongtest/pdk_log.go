package kongtest

import "strings"

var pdkLog = map[string]pdkFunc{
	"kong.log.alert":               logAt("alert"),
	"kong.log.crit":                logAt("crit"),
	"kong.log.err":                 logAt("error"),
	"kong.log.warn":                logAt("warn"),
	"kong.log.notice":              logAt("notice"),
	"kong.log.info":                logAt("info"),
	"kong.log.debug":               logAt("debug"),
	"kong.log.set_serialize_value": setSerializeValue,
	"kong.log.serialize": func(x *exchange, _ []any) (any, error) {
		return x.serialized(), nil
	},
}

func logAt(level string) pdkFunc {
	return func(x *exchange, args []any) (any, error) {
		var b strings.Builder
		for _, a := range args {
			b.WriteString(tostring(a))
		}
		x.say(level, b.String())
		return nil, nil
	}
}

func setSerializeValue(x *exchange, args []any) (any, error) {
	if x.serialize == nil {
		x.serialize = map[string]any{}
	}
	x.serialize[text(args[0])] = args[1]
	return nil, nil
}
