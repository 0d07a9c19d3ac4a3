package tokens_test

import (
	"fmt"

	"kong-vault-auth/tokens"
)

func ExampleFindQuery() {
	query := "page=2&access%5Ftoken=t0k3n&sort=name%20asc"
	fmt.Println(tokens.FindQuery(query, "access_token"))
	fmt.Println(tokens.FindQuery(query, "secret_token"))
	// Output:
	// {t0k3n 1}
	// { 0}
}

func ExampleStripQuery() {
	query := "page=2&access%5Ftoken=t0k3n&sort=name%20asc"
	fmt.Println(tokens.StripQuery(query, "access_token", "secret_token"))
	// Output: page=2&sort=name%20asc
}

func ExampleFormat_Parse() {
	format, err := tokens.FormatOf("application/json; charset=utf-8", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := format.Parse([]byte(`{"access_token": "t0k3n", "secret_token": "s3cr3t", "price": 1.50}`), 65536)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(body.Find("access_token"), body.Find("secret_token"))
	fmt.Println(string(body.Strip("access_token", "secret_token")))
	// Output:
	// {t0k3n 1} {s3cr3t 1}
	// {"price": 1.50}
}

func ExampleFormatOf() {
	_, err := tokens.FormatOf("application/json", "gzip")
	fmt.Println(err)
	// Output: body not searched for tokens: content_encoding
}

func ExampleSameHeader() {
	fmt.Println(tokens.SameHeader("Access-Token", "access_token"))
	// Output: true
}
