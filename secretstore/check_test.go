package secretstore

import "testing"

const somePEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

func TestPEMMayHaveItsLineEndsSpelledOut(t *testing.T) {
	for given, want := range map[string]string{
		somePEM: somePEM,
		`-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`:       somePEM,
		`-----BEGIN CERTIFICATE-----\r\nAAAA\r\n-----END CERTIFICATE-----\r\n`: somePEM,
		`/etc/kong/new-ca.pem`:            "",
		`C:\new\ca.pem`:                   "",
		"":                                "",
		"{vault://env/ca-certificate}":    "",
		"-----BEGIN CERTIFICATE-----\r\n": "-----BEGIN CERTIFICATE-----\r\n",
	} {
		if got, ok := PEM(given); got != want || ok != (want != "") {
			t.Errorf("PEM(%q) = %q, %v; want %q", given, got, ok, want)
		}
	}
}
