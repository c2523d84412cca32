# docker build --build-arg VERSION=v0.1.0 --build-arg REVISION=$(git rev-parse HEAD) -t plinth .
#
# The image has the program, certificate authorities and three folders of its user, and
# nothing else: no shell, no package manager.
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
ARG VERSION=v0.0.0-dev
ARG REVISION=
ARG TARGETOS
ARG TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN GOOS= GOARCH= go build -o /release ./tools/release \
 && mkdir -p /image/tmp /image/var/lib/plinth /image/var/cache/plinth \
 && GOOS=$TARGETOS GOARCH=$TARGETARCH PLINTH_REVISION=$REVISION /release -version $VERSION -program /image/plinth \
 && chmod 0700 /image/tmp /image/var/lib/plinth /image/var/cache/plinth

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /image /
USER 65532:65532
ENV TMPDIR=/tmp PLINTH_CACHE_DIR=/var/cache/plinth
VOLUME /var/lib/plinth
# Stores are served beyond the container as the configuration says, with TLS and a token.
EXPOSE 7420 7421 7422
ENTRYPOINT ["/plinth"]
CMD ["serve"]
