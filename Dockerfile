# Rideau in a container: one static program on an empty image, as a user
# without rights, listening on port 53 with the one capability that needs.
#
#   docker build -t rideau .
#   docker run --rm --read-only --cap-drop ALL --cap-add NET_BIND_SERVICE \
#     -p 53:53/udp -p 53:53/tcp -p 127.0.0.1:5380:5380 rideau
#
# The program carries NET_BIND_SERVICE as a file capability, so that the
# kernel refuses to start it ("operation not permitted") in a container without
# that capability. Under no-new-privileges (in Kubernetes,
# allowPrivilegeEscalation: false) file capabilities have no effect: give the
# container the sysctl net.ipv4.ip_unprivileged_port_start=0, which Docker
# sets by itself, and keep NET_BIND_SERVICE.
#
# Rideau writes nothing to the file system. To configure it, mount a directory
# with your rideau.yaml at /etc/rideau. Do not mount the file alone: when an
# editor saves it by renaming, the container keeps the old one.
#
# The base is pinned by version and by digest. Where it cannot be pulled, name
# another with --build-arg GO_IMAGE=...
ARG GO_IMAGE=docker.io/library/golang:1.26.8-bookworm@sha256:a688600ca24f8a4d3ca77f95b0dd40704a9fc787c826660eb7ba0b641b8b175d

FROM ${GO_IMAGE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libcap2-bin \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY blocklists blocklists
COPY cmd cmd
COPY config config
COPY resolver resolver
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.release=${VERSION}" -o /out/usr/bin/rideau ./cmd/rideau \
 && setcap cap_net_bind_service=+ep /out/usr/bin/rideau \
 && install -D -m 0644 config/container.yaml /out/etc/rideau/rideau.yaml \
 && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ca-certificates.crt \
 && printf 'rideau:x:65532:65532:rideau:/:/sbin/nologin\n' > /out/etc/passwd \
 && printf 'rideau:x:65532:\n' > /out/etc/group \
 && /out/usr/bin/rideau check --config /out/etc/rideau/rideau.yaml

FROM scratch
ARG VERSION=devel
LABEL org.opencontainers.image.title="Rideau" \
      org.opencontainers.image.description="Caching DNS forwarder that enforces bans" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /out/ /
USER 65532:65532
EXPOSE 53/udp 53/tcp 5380/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=4s --start-period=10s --retries=3 \
  CMD ["/usr/bin/rideau", "healthcheck", "--config", "/etc/rideau/rideau.yaml"]
ENTRYPOINT ["/usr/bin/rideau"]
CMD ["serve", "--config", "/etc/rideau/rideau.yaml"]
