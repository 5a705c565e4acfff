#!/bin/sh
# A cluster of containers on this machine. `docker/cluster.sh up|demo|down [--volumes]`
#   up      builds the container images, writes synthetic X-rays to the data volume if it is empty, and starts everything
#   demo    trains on them over Flight SQL, and prints each epoch
#   down    stops everything; --volumes also removes models, data and notebooks
# TUSK_TORCH=cuda uses the machine's NVIDIA GPUs. TUSK_PROJECT names the cluster; several can run at a time.
set -eu
cd "$(dirname "$0")/.."
torch=${TUSK_TORCH:-cpu}
project=${TUSK_PROJECT:-tusk}
export TUSK_VERSION="${TUSK_VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)}"
export TUSK_BASE="${TUSK_BASE:-debian:bookworm-slim}"
images=${TUSK_DEMO_IMAGES:-2000}
epochs=${TUSK_DEMO_EPOCHS:-10}

fail() {
    echo "cluster: $*" >&2
    exit 1
}

command -v docker >/dev/null 2>&1 || fail "docker is missing. Install Docker Engine and Compose, and run this again."
docker info >/dev/null 2>&1 || fail "cannot reach the Docker engine. Start it, or join the group docker, and run this again."

compose() {
    files="-f docker/compose.yaml"
    [ "$torch" = cpu ] || files="$files -f docker/compose.gpu.yaml"
    if docker compose version >/dev/null 2>&1; then
        # shellcheck disable=SC2086 # a list of flags
        docker compose -p "$project" $files "$@"
    elif command -v docker-compose >/dev/null 2>&1; then
        # shellcheck disable=SC2086
        docker-compose -p "$project" $files "$@"
    else
        fail "neither \`docker compose\` nor docker-compose was found. Install one of them and run this again."
    fi
}

# The notebook's token is stored in the clone, so it stays the same.
token() {
    file=docker/context/notebook-token
    if [ ! -s "$file" ]; then
        mkdir -p docker/context
        (umask 077 && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$file")
    fi
    cat "$file"
}
TUSK_NOTEBOOK_TOKEN=${TUSK_NOTEBOOK_TOKEN:-$(token)}
export TUSK_NOTEBOOK_TOKEN

tag=$TUSK_VERSION
[ "$torch" = cpu ] || tag=$TUSK_VERSION-cuda

# Runs `tusk draw` in a container that has only the data volume.
draw() {
    docker run --rm --network none --read-only --tmpfs /tmp --user 10001 -v "${project}_data:/data" --entrypoint tusk \
        "tusk-executor:$tag" draw "$@"
}

wait_healthy() {
    for _ in $(seq 120); do
        waiting=""
        for id in $(compose ps -q); do
            state=$(docker inspect --format '{{.Name}} {{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}' "$id")
            case $state in *" healthy" | *" running") ;; *) waiting="$waiting ${state#/}," ;; esac
        done
        [ -n "$waiting" ] || return 0
        sleep 1
    done
    compose logs --tail=30 >&2
    fail "not healthy after two minutes:${waiting%,}. Their last lines are above."
}

case ${1:-} in
up)
    docker/base.sh "$TUSK_BASE"
    docker/context.sh "$torch"
    compose build --quiet 2>/dev/null || compose build
    if ! docker run --rm --network none -v "${project}_data:/data" --entrypoint test "tusk-executor:$tag" -e /data/xrays.parquet; then
        echo "cluster: generating $images synthetic X-rays for training and $((images / 5)) of other patients for testing"
        draw /data/xrays.parquet --images "$images" --seed 42 >/dev/null
        draw /data/xrays_test.parquet --images "$((images / 5))" --seed 43 >/dev/null
    fi
    hint="If a port is in use, set TUSK_PORT or TUSK_NOTEBOOK_PORT."
    [ "$torch" = cpu ] || hint="$hint GPUs need NVIDIA's driver and its container toolkit on this machine."
    compose up -d || fail "failed to start a container (the message is above). $hint"
    wait_healthy
    echo "Flight SQL, REST and metrics   127.0.0.1:${TUSK_PORT:-50050}"
    echo "the first notebook             http://127.0.0.1:${TUSK_NOTEBOOK_PORT:-8888}/lab/tree/01_first_model.ipynb?token=$TUSK_NOTEBOOK_TOKEN"
    ;;
demo)
    sql="CREATE OR REPLACE MODEL demo USING cnn OPTIONS (epochs = $epochs, image_size = 96, \"group\" = 'group') TRAIN ON xrays;
EVALUATE MODEL demo ON xrays_test;"
    echo "$sql"
    compose exec -T executor-1 tusk sql --scheduler df://scheduler:50050 -c "$sql"
    ;;
down)
    shift
    compose down --remove-orphans "$@"
    ;;
*) fail "usage: docker/cluster.sh up | demo | down [--volumes]" ;;
esac
