# Kong's official image with vault-auth in it, for both containers: Kong, and the
# plugin server beside it (docker-compose.yml, deploy/kubernetes.yaml).
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

# Kong's vaults azure and hcv, in Kong's own Lua tree: references in kong.conf are
# resolved before lua_package_path counts. Kong's user reads them, whatever umask they
# were checked out with.
COPY --chown=root:root --chmod=0755 lua/kong/vaults /usr/local/share/lua/5.1/kong/vaults

# Owned by root: Kong's user runs the program and can't replace it. Not in
# /usr/local/bin, where Kong would take a file of this name for a start command.
COPY --from=build --chown=root:root --chmod=0755 /out/vault-auth /opt/vault-auth/vault-auth

# A volume that is mounted here belongs to Kong's user as well.
USER root
RUN install -d -o kong -g kong -m 0750 /run/vault-auth
USER kong

ENV KONG_PLUGINS=bundled,vault-auth,vault-secrets \
    KONG_VAULTS=bundled,azure,hcv \
    KONG_PLUGINSERVER_NAMES=vault-auth,vault-secrets \
    KONG_PLUGINSERVER_VAULT_AUTH_SOCKET=/run/vault-auth/vault-auth.socket \
    KONG_PLUGINSERVER_VAULT_AUTH_QUERY_CMD="/opt/vault-auth/vault-auth -dump" \
    KONG_PLUGINSERVER_VAULT_SECRETS_SOCKET=/run/vault-auth/vault-auth.socket \
    KONG_PLUGINSERVER_VAULT_SECRETS_QUERY_CMD="/opt/vault-auth/vault-auth -name vault-secrets -dump"
