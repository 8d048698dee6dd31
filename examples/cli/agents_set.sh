#!/bin/sh
# Weights, health and draining of agents, set while they are at work.
set -eu
dir=$(mktemp -d) tries=0
trunkline serve --ephemeral --listen 127.0.0.1:0 --port-file "$dir/port" 2>"$dir/log" &
broker=$! agent=
trap 'kill $broker $agent || true; wait; rm -r "$dir"' EXIT
until test -s "$dir/port" || test $((tries += 1)) -gt 100; do sleep 0.1; done
TRUNKLINE_URL=http://$(cat "$dir/port")
export TRUNKLINE_URL
trunkline agent --id counter --skill count-words --weight 300 -- wc -w &
agent=$!
ask() { trunkline request --skill count-words --data 'one two three' --timeout "$1"; }
test "$(ask 10s)" -eq 3

trunkline agents set counter --weight 7
trunkline agents get counter | grep -i weight

# Not fit for work: what is asked waits, here in vain.
trunkline agents set counter --unhealthy
! ask 300ms || exit 1
trunkline agents set counter --healthy
test "$(ask 10s)" -eq 3

# It finishes what it holds, and leaves.
trunkline agents set counter --drain
wait $agent
agent=
trunkline agents list
