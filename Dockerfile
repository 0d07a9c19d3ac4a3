# Kong's official image with vault-auth in it.
#
#   docker build -t kong-vault-auth .
#
# Kong 3.9.3 is the first whose nginx refuses a request with more than 1,000
# headers.
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build

WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .

ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/vault-auth .

FROM kong:3.9.3

# Owned by root: Kong's user runs the program and can't replace it. The socket
# is in Kong's prefix, which the base image gives to that user.
COPY --from=build --chown=root:root --chmod=0755 /out/vault-auth /usr/local/bin/vault-auth

ENV KONG_PLUGINS=bundled,vault-auth \
    KONG_PLUGINSERVER_NAMES=vault-auth \
    KONG_PLUGINSERVER_VAULT_AUTH_SOCKET=/usr/local/kong/vault-auth.socket \
    KONG_PLUGINSERVER_VAULT_AUTH_START_CMD="/usr/local/bin/vault-auth -kong-prefix /usr/local/kong" \
    KONG_PLUGINSERVER_VAULT_AUTH_QUERY_CMD="/usr/local/bin/vault-auth -dump"

USER kong
