#!/bin/sh
# A configuration that is changed while the broker runs: SIGHUP has it read again, and what is wrong
# changes nothing.
set -eu
dir=$(mktemp -d) tries=0
cd "$dir"
printf '[broker]\nlease = "30s"\n' >trunkline.toml
trunkline serve --ephemeral --listen 127.0.0.1:0 --config trunkline.toml >log 2>&1 &
broker=$!
trap 'kill $broker || true; wait; rm -r "$dir"' EXIT
said() {
    until grep -s "$1" log; do
        test $((tries += 1)) -lt 100
        sleep 0.1
    done
}
said 'listens on'

printf '[broker]\nlease = "10s"\n' >trunkline.toml
trunkline config check trunkline.toml
kill -HUP $broker
said 'reloaded: broker.lease from 30s to 10s'

printf '[broker]\nleese = "5s"\n' >trunkline.toml
! trunkline config check trunkline.toml || exit 1 # names the nearest key
kill -HUP $broker
said leese
kill -0 $broker
