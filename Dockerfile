# The container image: one static binary and nothing else. Zone data and the
# certification authorities that the world trusts are inside of the binary.
#
#   docker build -t meter2mqtt .
#   docker buildx build --platform linux/amd64,linux/arm64,linux/arm/v7,linux/arm/v6 -t meter2mqtt .
#
# Go compiles on the machine that builds, for the one that runs: nothing is
# emulated. docs/container.md says how to run it.
ARG GO_IMAGE=docker.io/library/golang:1.26-bookworm

FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
ARG TARGETOS=linux
ARG TARGETARCH
ARG TARGETVARIANT
ARG VERSION=devel
ARG COMMIT=unknown
ARG DATE=unknown
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} GOARM=${TARGETVARIANT#v} \
    go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X main.version=${VERSION} -X main.commit=${COMMIT} -X main.date=${DATE}" \
    -o /out/meter2mqtt . \
 && mkdir -p /out/data

FROM scratch
COPY --from=build /out/meter2mqtt /meter2mqtt
# What is remembered over a restart. Here and nowhere else anything is written, so
# the container may run with a read-only root.
COPY --from=build --chown=65532:65532 /out/data /data
VOLUME /data
ENV METER2MQTT_STATE__DIR=/data
USER 65532:65532
ENTRYPOINT ["/meter2mqtt"]
CMD ["run", "-c", "/config/meter2mqtt.toml"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s --retries=3 CMD ["/meter2mqtt", "health"]
