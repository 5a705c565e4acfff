# The scheduler: Flight SQL, training runs, the aggregator. No libtorch. docker/context.sh writes its build context.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN groupadd --gid 10001 tusk && useradd --uid 10001 --gid tusk --no-create-home --home-dir /tmp tusk \
    && install -d -o tusk -g tusk /store /data
COPY health.sh /usr/local/bin/tusk-health
COPY tusk-scheduler /usr/local/bin/
USER tusk
WORKDIR /store
ENV TUSK_BIND_HOST=0.0.0.0 TUSK_BIND_PORT=50050 TUSK_STORE=/store TUSK_DATA=/data
EXPOSE 50050
VOLUME ["/store", "/data"]
HEALTHCHECK --interval=5s --timeout=6s --start-period=30s --retries=5 CMD ["tusk-health", "50050", "/healthz", "tls"]
ENTRYPOINT ["tusk-scheduler"]
