# JupyterLab with the ADBC driver for Flight SQL. docker/context.sh writes its build context, with all packages as wheels.
ARG BASE=debian:bookworm-slim
FROM ${BASE} AS packages
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/*
COPY requirements.txt /tmp/
COPY wheels /tmp/wheels
RUN python3 -m venv /opt/notebook \
    && /opt/notebook/bin/pip install --no-index --no-compile --find-links /tmp/wheels --require-hashes -r /tmp/requirements.txt

FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 tusk && useradd --uid 10001 --gid tusk --no-create-home --home-dir /tmp tusk \
    && install -d -o tusk -g tusk /notebooks
COPY --from=packages /opt/notebook /opt/notebook
COPY health.sh /usr/local/bin/tusk-health
COPY --chown=10001:10001 notebooks /notebooks
USER tusk
WORKDIR /notebooks
ENV PATH=/opt/notebook/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp TUSK_URL=grpc://scheduler:50050
EXPOSE 8888
VOLUME ["/notebooks"]
HEALTHCHECK --interval=5s --timeout=6s --start-period=60s --retries=5 CMD ["tusk-health", "8888", "/api"]
# The token is JUPYTER_TOKEN.
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "--ServerApp.root_dir=/notebooks", \
    "--LabApp.default_url=/lab/tree/01_first_model.ipynb", "--LabApp.extension_manager=readonly"]
