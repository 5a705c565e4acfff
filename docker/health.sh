#!/bin/bash
# The health check of a container, with bash only: health.sh PORT PATH [tls]
# With `tls` and TUSK_TLS_CERT, it only checks that the port is open.
set -u
port=$1 path=$2
exec 3<>"/dev/tcp/127.0.0.1/$port" || exit 1
if [ -n "${TUSK_TLS_CERT:-}" ] && [ "${3:-}" = tls ]; then
    exit 0
fi
printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$path" >&3
read -r -t 5 _ status _ <&3
[ "$status" = 200 ]
