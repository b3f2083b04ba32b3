# The gateway in a container: a key is needed, since it listens beyond the container's own address.
#
#   docker build -t tranche .
#   openssl rand -hex 32 > admin.key && chmod 644 admin.key
#   docker run --read-only --tmpfs /tmp -p 8080:8080 -v tranche-data:/var/lib/tranche \
#     -v "$PWD/admin.key:/run/secrets/admin.key:ro" -e TRANCHE__AUTH__ADMIN_KEY_FILE=/run/secrets/admin.key tranche

ARG BUILD_IMAGE=docker.io/library/rust:1.95-bookworm
ARG RUN_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${BUILD_IMAGE} AS build
WORKDIR /build
# First the dependencies alone, under empty crates: this layer lasts until a manifest changes. The image has the
# toolchain, so that rust-toolchain.toml stays out.
COPY Cargo.toml Cargo.lock ./
COPY actors/Cargo.toml actors/
COPY servers/Cargo.toml servers/
COPY simulation/Cargo.toml simulation/
RUN mkdir benches src actors/src servers/src simulation/src \
    && echo 'fn main() {}' | tee benches/gateway.rs > src/main.rs \
    && touch src/lib.rs actors/src/lib.rs servers/src/lib.rs simulation/src/lib.rs \
    && cargo build --release --locked
COPY actors/src actors/src
COPY benches benches
COPY config config
COPY migrations migrations
COPY servers/src servers/src
COPY simulation/src simulation/src
COPY src src
# Cargo goes by the time of a file, and those just copied may be older than the empty ones.
RUN find src actors/src servers/src simulation/src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked

FROM ${RUN_IMAGE}
# The certificates by which a broker's host is known.
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin tranche \
    && install --directory --owner=tranche --group=tranche --mode=0750 /var/lib/tranche
COPY --from=build /build/target/release/tranche /usr/local/bin/tranche
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/tranche/
USER 10001
WORKDIR /var/lib/tranche
ENV TRANCHE__HTTP__BIND=0.0.0.0:8080 \
    TRANCHE__STORAGE__URL=sqlite:///var/lib/tranche \
    TRANCHE__LOG__FORMAT=json
VOLUME ["/var/lib/tranche"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["/usr/local/bin/tranche", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/tranche"]
CMD ["serve"]
