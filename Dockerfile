# syntax=docker/dockerfile:1

FROM rust:1-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# The dependencies alone: this layer is kept until the manifest changes. Tests and benches, which it names, stay outside.
COPY Cargo.toml Cargo.lock ./
RUN sed -i '/^\[\[bench\]\]/,/^$/d; /^\[\[test\]\]/,/^$/d' Cargo.toml \
 && mkdir src \
 && echo '//! Placeholder.' > src/lib.rs \
 && printf '//! Placeholder.\nfn main() {}\n' > src/main.rs \
 && cargo build --release --locked

COPY src src
COPY migrations migrations
RUN touch src/lib.rs src/main.rs \
 && cargo build --release --locked \
 && mkdir -p /empty/data

# No shell and no package manager: the binary, and the C library that it is linked with.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/release/countersign /usr/local/bin/countersign
# The one place that is written to; the root file system may be read-only.
COPY --from=build --chown=nonroot:nonroot /empty/data /var/lib/countersign
WORKDIR /etc/countersign
USER nonroot
VOLUME /var/lib/countersign
EXPOSE 8443
# The second goes before server.cutoffs of the file, whose default would lie beside it, where nothing can be written.
ENV COUNTERSIGN_CONFIG=/etc/countersign/countersign.toml \
    COUNTERSIGN_SERVER__CUTOFFS=/var/lib/countersign/cutoffs.toml
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/local/bin/countersign", "health"]
ENTRYPOINT ["/usr/local/bin/countersign"]
CMD ["serve"]
