# An executor: decodes, trains, predicts. `--build-arg TORCH=cuda` builds it for NVIDIA GPUs. docker/context.sh writes its
# build context.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
ARG TORCH=cpu
RUN groupadd --gid 10001 tusk && useradd --uid 10001 --gid tusk --no-create-home --home-dir /tmp tusk \
    && install -d -o tusk -g tusk /store /data /work
COPY ${TORCH}/lib /opt/libtorch/lib
COPY health.sh /usr/local/bin/tusk-health
COPY ${TORCH}/bin /usr/local/bin/
USER tusk
WORKDIR /work
# NVIDIA's container runtime reads the last two. Without a GPU they have no effect.
ENV LD_LIBRARY_PATH=/opt/libtorch/lib \
    TUSK_BIND_HOST=0.0.0.0 TUSK_STORE=/store TUSK_WORK_DIR=/work TUSK_CACHE_DIR=/work \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
EXPOSE 50051 50052 50053
VOLUME ["/store", "/data", "/work"]
HEALTHCHECK --interval=5s --timeout=6s --start-period=30s --retries=5 CMD ["tusk-health", "50053", "/readyz"]
ENTRYPOINT ["tusk-executor"]
