# syntax=docker/dockerfile:1

# One image with the three binaries: they are one version by construction, and
# a host fetches the layers once.

FROM golang:1.26-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
# The repository is not in the image, so whoever builds says what is built:
# docker build --build-arg VERSION=v1.2.3 --build-arg REVISION=$(git rev-parse HEAD) .
ARG VERSION=
ARG REVISION=
# Without cgo the binaries need no C library (SQLite is pure Go here).
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w -X waitroom/internal/process.version=$VERSION -X waitroom/internal/process.revision=$REVISION" -o /out/ ./cmd/...

# Alpine and not scratch: its wget asks /readyz for the health checks, and its
# certificates let a booker fetch public keys over https.
FROM alpine:3.22
RUN apk add --no-cache ca-certificates \
    && adduser -D -H -u 10001 waitroom \
    # A new volume takes the owner of the folder that it covers.
    && install -d -o waitroom -m 700 /keys
COPY --from=build /out/ /usr/local/bin/
USER waitroom
# No entry point: name one of waitroom, admitter and booker.
CMD ["waitroom", "-h"]
