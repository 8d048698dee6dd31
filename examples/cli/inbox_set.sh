#!/bin/sh
# The settings of an inbox, changed while it is at work: its limit, what happens when it is full,
# who gets what from it.
set -eu
dir=$(mktemp -d) tries=0
trunkline serve --ephemeral --listen 127.0.0.1:0 --port-file "$dir/port" 2>"$dir/log" &
broker=$!
trap 'kill $broker || true; wait; rm -r "$dir"' EXIT
until test -s "$dir/port" || test $((tries += 1)) -gt 100; do sleep 0.1; done
TRUNKLINE_URL=http://$(cat "$dir/port")
export TRUNKLINE_URL

tell() { trunkline send --skill log --kind event --data "$1"; }
trunkline inbox set skill:log --limit 1 --when-full reject
tell one
code=0
tell two || code=$?
test $code -eq 4 # the broker refused

# The oldest goes for the newest.
trunkline inbox set skill:log --when-full drop-oldest
tell two
trunkline inbox get skill:log | grep drop-oldest

# What is urgent goes only to agents with the label; the same key goes to the same agent.
trunkline inbox set skill:log --bind urgent=tier:gold --routing consistent-hash
trunkline inbox get skill:log | grep tier
trunkline inbox set skill:log --reset
! trunkline inbox get skill:log | grep tier || exit 1
