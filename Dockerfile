# The bank as a small image: `docker build -t vostro .`, see docker-compose.yml for what it needs around it.

FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
# Queries are checked against the recorded data in .sqlx: building needs no database.
ENV SQLX_OFFLINE=true
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --locked --profile dist --bin vostro \
    && install -D --strip target/dist/vostro /out/vostro

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin vostro \
    && install -d -o vostro /var/lib/vostro/mail
COPY --from=build /out/vostro /usr/local/bin/vostro
USER 10001
WORKDIR /var/lib/vostro
ENV VOSTRO__HTTP__ADDRESS=0.0.0.0:8080
EXPOSE 8080
# Ready means: started, and the database answers. The image has no HTTP client, and bash can ask by itself.
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=6 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /health/ready HTTP/1.0\\r\\nHost: bank\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200'"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["vostro"]
CMD ["serve"]
