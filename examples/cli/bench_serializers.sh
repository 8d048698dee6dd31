#!/bin/sh
# Which format and compression would suit your own messages: JSON, MessagePack and protobuf, plain
# and compressed, by size and by the time to write and to read.
set -eu
dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT
cat >"$dir/order.json" <<'JSON'
{
  "order": 10017, "customer": "customer-0042", "urgent": false,
  "items": [
    { "name": "paper, A4, 500 sheets", "count": 3, "price": 4.95 },
    { "name": "ink, black", "count": 1, "price": 18.5 }
  ]
}
JSON
trunkline bench serializers "$dir/order.json"

# For programs.
trunkline bench serializers "$dir/order.json" --json >"$dir/report"
for format in json msgpack protobuf; do grep -q "\"$format\"" "$dir/report"; done

# Anything else is compared as it is.
head -c 4096 /dev/zero | tr '\0' x >"$dir/text"
trunkline bench serializers "$dir/text" | grep zstd
