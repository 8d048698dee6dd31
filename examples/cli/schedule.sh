#!/bin/sh
# A message that recurs: set, heard twice, listed, removed.
set -eu
dir=$(mktemp -d) tries=0
trunkline serve --ephemeral --listen 127.0.0.1:0 --port-file "$dir/port" 2>"$dir/log" &
broker=$!
trap 'kill $broker || true; wait; rm -r "$dir"' EXIT
until test -s "$dir/port" || test $((tries += 1)) -gt 100; do sleep 0.1; done
TRUNKLINE_URL=http://$(cat "$dir/port")
export TRUNKLINE_URL

# Six fields: the first is the second.
trunkline schedule set tick --cron '* * * * * *' --zone Europe/Berlin --topic clock.tick --data tick
trunkline subscribe 'clock.>' --count 2 >"$dir/heard"
cat "$dir/heard"
test "$(grep -c tick "$dir/heard")" -eq 2
trunkline schedule list
trunkline schedule remove tick

# What can never be due is refused.
code=0
trunkline schedule set never --cron '0 0 30 2 *' --skill report || code=$?
test $code -eq 4
