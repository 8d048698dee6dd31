#!/bin/sh
# Dead letters: found by their reason, sent again edited or at a rate, deleted.
set -eu
dir=$(mktemp -d) tries=0
trunkline serve --ephemeral --listen 127.0.0.1:0 --port-file "$dir/port" 2>"$dir/log" &
broker=$! agent=
trap 'kill $broker $agent || true; wait; rm -r "$dir"' EXIT
until test -s "$dir/port" || test $((tries += 1)) -gt 100; do sleep 0.1; done
TRUNKLINE_URL=http://$(cat "$dir/port")
export TRUNKLINE_URL

# An agent that takes only what has 'good' in it.
script='grep good || { echo "that is no good" >&2; exit 1; }'
trunkline agent --skill judge -- sh -c "$script" &
agent=$!
for data in bad worse worst; do
    code=0
    trunkline send --skill judge --data $data --attempts 1 --wait || code=$?
    test $code -eq 10 # it became a dead letter
done
trunkline dead list --inbox skill:judge --reason 'no good'
letter=$(trunkline dead list --limit 1 --json | grep -o '"id": *"[^"]*"' | head -n 1 | cut -d '"' -f 4)
trunkline dead show "$letter"

again=$(trunkline dead redrive "$letter" --data 'good now')
trunkline task watch "$again"
trunkline dead redrive --all --inbox skill:judge --rate 10/s --data 'good as well'
trunkline dead purge --all --yes # nothing is left
